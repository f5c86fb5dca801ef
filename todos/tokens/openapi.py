"""The bodies of /api/token/ and what the OpenAPI document says about signing in."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from edge_api.contract.tokens import SCOPES
from todos.api.openapi import ALWAYS, documented
from todos.api.serializers import PlainField
from todos.tokens.issue import ACCESS_LIFETIME

ALL_SCOPES = " ".join(SCOPES)
ACCESS_SECONDS = int(ACCESS_LIFETIME.total_seconds())
ALWAYS_WITHOUT_SCOPE = ALWAYS - {403}
EXAMPLE = {"access": "eyJhbGciOi…", "refresh": "q1Bv9M…", "token_type": "Bearer", "expires_in": ACCESS_SECONDS}
NO_SIGNING_KEY = {503: "The database is unavailable, or there is no signing key; Retry-After says when to try again."}


class Credentials(serializers.Serializer[Any]):
    username = PlainField(max_length=150, trim_whitespace=False)
    password = PlainField(max_length=1_000, trim_whitespace=False, write_only=True)
    scope = serializers.ChoiceField([*SCOPES, ALL_SCOPES], default=ALL_SCOPES, help_text="What the token permits.")


class OldToken(serializers.Serializer[Any]):
    refresh = PlainField(max_length=200, trim_whitespace=False)


class Tokens(serializers.Serializer[Any]):
    access = serializers.CharField(help_text="For the header Authorization: Bearer …, at the edge and at the API.")
    refresh = serializers.CharField(help_text="Gets the next pair of tokens, once.")
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds until the access token expires.")


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Documents the authentication; importing the class registers it."""

    target_class = "todos.tokens.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "From `/api/token/`."}


def _examples(request: dict[str, str]) -> list[OpenApiExample]:
    return [
        OpenApiExample("Request", request, request_only=True),
        OpenApiExample("Tokens", EXAMPLE, response_only=True, status_codes=["200"]),
    ]


sign_in = documented(
    {200: Tokens}, 400, 413, 415, always=ALWAYS_WITHOUT_SCOPE,
    texts=NO_SIGNING_KEY | {
        401: "There is no active user with this name and password.",
        429: "Too many requests, wrong passwords, or sign-ins at once; Retry-After says when to try again.",
    },
    summary="Sign in",
    request=Credentials,
    examples=_examples({"username": "olga", "password": "…", "scope": "read write"}),
)  # fmt: skip
refresh = documented(
    {200: Tokens}, 400, 413, 415, always=ALWAYS_WITHOUT_SCOPE,
    texts=NO_SIGNING_KEY | {401: "The refresh token is unknown, used or expired."},
    summary="Get the next tokens",
    request=OldToken,
    examples=_examples({"refresh": "q1Bv9M…"}),
)  # fmt: skip
