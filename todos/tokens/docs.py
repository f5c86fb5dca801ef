"""What the OpenAPI document says of signing in."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample

from todos.api.docs import ALWAYS, documented
from todos.tokens.issue import ACCESS_LIFETIME
from todos.tokens.serializers import Credentials, OldToken, Tokens

SECONDS = int(ACCESS_LIFETIME.total_seconds())
OPEN = ALWAYS - {403}  # to everybody, whatever their scopes
PAIR = {"access": "eyJhbGciOi…", "refresh": "q1Bv9M…", "token_type": "Bearer", "expires_in": SECONDS}
UNSIGNED = {503: "The database does not answer, or no key signs; Retry-After says when to try again."}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Known by being imported."""

    target_class = "todos.tokens.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "Of `/api/token/`."}


def _given(request: dict[str, str]) -> list[OpenApiExample]:
    return [
        OpenApiExample("Request", request, request_only=True),
        OpenApiExample("Tokens", PAIR, response_only=True, status_codes=["200"]),
    ]


signed_in = documented(
    {200: Tokens}, 400, 413, 415, always=OPEN,
    texts=UNSIGNED | {
        401: "No active user has this name and password.",
        429: "Too many requests, or wrong passwords; Retry-After says when to try again.",
    },
    summary="Sign in",
    request=Credentials,
    examples=_given({"username": "olga", "password": "…", "scope": "read write"}),
)  # fmt: skip
refreshed = documented(
    {200: Tokens}, 400, 413, 415, always=OPEN,
    texts=UNSIGNED | {401: "The refresh token is unknown, used or out of date."},
    summary="Get the next tokens",
    request=OldToken,
    examples=_given({"refresh": "q1Bv9M…"}),
)  # fmt: skip
