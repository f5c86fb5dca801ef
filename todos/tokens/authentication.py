"""REST framework's part: who asks, and whether they may. A session of the admin is as good as a token."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from edge_api.contract.tokens import READ, WRITE, InvalidToken, Token, kid_of, verify
from todos.tokens.keys import known_key

CHALLENGE = 'Bearer realm="todo"'


class TokenAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            token = _verified(credentials.strip())
            user = User.objects.filter(pk=_key_of(token), is_active=True).first()
        except InvalidToken as exc:
            raise AuthenticationFailed(f"The token {exc}.") from None
        if user is None:
            raise AuthenticationFailed("The token's user is away.")
        return user, token

    def authenticate_header(self, request: Request) -> str:
        return f'{CHALLENGE}, error="invalid_token"' if "Authorization" in request.headers else CHALLENGE


def _verified(credentials: str) -> Token:
    return verify(credentials, known_key(kid_of(credentials)))


def _key_of(token: Token) -> int:
    """Raises InvalidToken."""
    if not (token.owner.isascii() and token.owner.isdecimal() and len(token.owner) < 19):
        raise InvalidToken("is not valid: its subject is no user")
    return int(token.owner)


class MayUse(BasePermission):
    """Signed in, with the scope for it. With DJANGO_API_AUTH=open also without signing in."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.user, User):
            return bool(settings.API_AUTH == "open")
        scope = READ if request.method in SAFE_METHODS else WRITE
        if isinstance(request.auth, Token) and scope not in request.auth.scopes:
            raise _insufficient(scope)
        return True


def _insufficient(scope: str) -> PermissionDenied:
    denied = PermissionDenied(f"The token lacks the scope {scope}.")
    denied.auth_header = f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'  # type: ignore[attr-defined]
    return denied
