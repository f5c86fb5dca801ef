"""Who sends a todo: the subject of the request's token, verified offline."""

import time
from collections import OrderedDict
from http import HTTPStatus

from starlette.types import Scope

from edge_api.auth.jwks import Keys
from edge_api.contract.tokens import WRITE, InvalidToken, Token, kid_of, verify
from edge_api.problems import Problem, RetryLater
from edge_api.settings import EdgeSettings

# To verify one takes 100 µs, as long as five requests do; a client sends the same token for minutes.
MAX_REMEMBERED = 10_000
NOBODY = ""
REALM = 'Bearer realm="todo"'
INVALID_TOKEN = f'{REALM}, error="invalid_token"'


class Auth:
    """`problem` says why no token can be verified, where one is needed, or is None."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._is_open = settings.auth == "open"
        self._remembered: OrderedDict[bytes, Token] = OrderedDict()
        self._keys = Keys(settings.jwks, self._remembered.clear) if settings.jwks else None

    @property
    def problem(self) -> str | None:
        return None if self._is_open or self._keys is None else self._keys.problem

    async def start(self) -> None:
        if self._keys:
            await self._keys.start()

    async def stop(self) -> None:
        if self._keys:
            await self._keys.stop()

    async def owner_of(self, scope: Scope) -> str:
        """NOBODY where the edge is open and the request has no token. Raises Problem: 401, 403, or 503 while nobody can
        tell whether the token is good."""
        encoded = _bearer_token(scope)
        if encoded is None:
            if self._is_open:
                return NOBODY
            raise _refused("The request needs a token.", REALM)
        token = self._remembered.get(encoded)
        if token is None or token.until <= time.time():
            token = await self._verified(encoded)
        else:
            self._remembered.move_to_end(encoded)
        if WRITE not in token.scopes:
            challenge = f'{REALM}, error="insufficient_scope", scope="{WRITE}"'
            raise _refused(f"The token lacks the scope {WRITE}.", challenge, HTTPStatus.FORBIDDEN)
        return token.owner

    async def _verified(self, encoded: bytes) -> Token:
        try:
            token = await self._verify(encoded.decode("latin-1"))
        except InvalidToken as exc:
            raise _refused(f"The token {exc}.", INVALID_TOKEN) from None
        self._remembered[encoded] = token
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return token

    async def _verify(self, text: str) -> Token:
        kid = kid_of(text)
        key = await self._keys.find(kid) if self._keys else None
        if key is None and self._keys and self._keys.is_stale:
            raise RetryLater("Not stored: the key of the token cannot be looked up at the moment.")
        return verify(text, key)


def _bearer_token(scope: Scope) -> bytes | None:
    """None where the request has no credentials."""
    found = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            if found is not None or scheme.lower() != b"bearer":
                raise _refused("The token must be a bearer token, and sent once.", INVALID_TOKEN)
            found = bytes(token.strip())
    return found


def _refused(detail: str, challenge: str, status: HTTPStatus = HTTPStatus.UNAUTHORIZED) -> Problem:
    return Problem(status, detail, headers={"WWW-Authenticate": challenge})
