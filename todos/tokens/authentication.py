"""Authentication and permission of the API's clients, by a token or by a session of the admin."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from edge_api.contract.tokens import READ, WRITE, InvalidToken, Token, kid_of, verify
from todos.owners import user_of
from todos.tokens.issue import credential_of
from todos.tokens.keys import known_key

CHALLENGE = 'Bearer realm="todo"'


class TokenAuthentication(BaseAuthentication):
    """Authenticates a request by its bearer token. The user must exist, be active, and have the password of then."""

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            token = _verified(credentials.strip())
        except InvalidToken as exc:
            raise AuthenticationFailed(f"The token {exc}.") from None
        user = user_of(token.owner)
        if user is None or not user.is_active:
            raise AuthenticationFailed("The token's user does not exist or is not active.")
        if token.credential and token.credential != credential_of(user):
            raise AuthenticationFailed("The token is older than its user's password. Sign in again.")
        return user, token

    def authenticate_header(self, request: Request) -> str:
        return f'{CHALLENGE}, error="invalid_token"' if "Authorization" in request.headers else CHALLENGE


def _verified(credentials: str) -> Token:
    return verify(credentials, known_key(kid_of(credentials)))


class HasScope(BasePermission):
    """Requires a signed-in user and, with a token, its scope. With DJANGO_API_AUTH=open signing in is optional."""

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
