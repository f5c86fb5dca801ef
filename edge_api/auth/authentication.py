"""The owner of a request's todos: the subject of its token, verified offline."""

import time
from collections import OrderedDict
from http import HTTPStatus

from starlette.types import Scope

from edge_api.auth.jwks import KeySet, KeysUnavailable
from edge_api.contract.tokens import WRITE, InvalidToken, Token, kid_of, verify
from edge_api.problems import Problem, RetryLater
from edge_api.settings import EdgeSettings

# Verifying a token costs as much as two requests; a client sends the same token for minutes.
MAX_CACHED_TOKENS = 10_000
NO_OWNER = ""
REALM = 'Bearer realm="todo"'
INVALID_TOKEN = f'{REALM}, error="invalid_token"'


class Auth:
    """Authenticate requests by their bearer tokens; with EDGE_AUTH=open a request may have none."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._is_open = settings.auth == "open"
        self._cache: OrderedDict[bytes, Token] = OrderedDict()
        self._keys = None
        if settings.jwks:
            self._keys = KeySet(settings.jwks, settings.jwks_max_age_seconds, on_change=self._cache.clear)

    @property
    def unavailable_reason(self) -> str | None:
        """Why no token can be verified although the edge needs one, or None."""
        return None if self._is_open or self._keys is None else self._keys.unavailable_reason

    def keys_age(self) -> float | None:
        """Return the seconds since the keys were last read, or None if there are none to read or never were."""
        return self._keys.age if self._keys else None

    async def start(self) -> None:
        if self._keys:
            await self._keys.start()

    async def stop(self) -> None:
        if self._keys:
            await self._keys.stop()

    async def owner_of(self, scope: Scope, deadline: float) -> str:
        """Return the owner; NO_OWNER if the edge is open and the request has no token.

        Raises Problem: 401, 403, or 503 if the key of the token cannot be looked up before `deadline`.
        """
        encoded = _bearer_token(scope)
        if encoded is None:
            if self._is_open:
                return NO_OWNER
            raise _unauthorized("The request needs a token.", REALM)
        token = self._cache.get(encoded)
        if token is None or token.until <= time.time():
            token = await self._verify_and_cache(encoded, deadline)
        else:
            self._cache.move_to_end(encoded)
        if WRITE not in token.scopes:
            challenge = f'{REALM}, error="insufficient_scope", scope="{WRITE}"'
            raise _unauthorized(f"The token lacks the scope {WRITE}.", challenge, HTTPStatus.FORBIDDEN)
        return token.owner

    async def _verify_and_cache(self, encoded: bytes, deadline: float) -> Token:
        text = encoded.decode("latin-1")
        try:
            kid = kid_of(text)
            token = verify(text, await self._keys.find(kid, deadline) if self._keys else None)
        except KeysUnavailable as exc:
            raise RetryLater(f"Not stored: {exc}.") from None
        except InvalidToken as exc:
            raise _unauthorized(f"The token {exc}.", INVALID_TOKEN) from None
        self._cache[encoded] = token
        if len(self._cache) > MAX_CACHED_TOKENS:
            self._cache.popitem(last=False)
        return token


def _bearer_token(scope: Scope) -> bytes | None:
    """Return the token, or None if the request has no credentials. Raises Problem 401 for any other scheme."""
    found = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            if found is not None or scheme.lower() != b"bearer":
                raise _unauthorized("The token must be a bearer token, and sent once.", INVALID_TOKEN)
            found = bytes(token.strip())
    return found


def _unauthorized(detail: str, challenge: str, status: HTTPStatus = HTTPStatus.UNAUTHORIZED) -> Problem:
    return Problem(status, detail, headers={"WWW-Authenticate": challenge})
