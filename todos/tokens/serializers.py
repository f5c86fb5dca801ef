"""What goes into and comes out of /api/token/."""

from typing import Any

from rest_framework import serializers

from edge_api.contract.tokens import SCOPES
from todos.api.serializers import PlainField

BOTH = " ".join(SCOPES)


class Credentials(serializers.Serializer[Any]):
    username = PlainField(max_length=150, trim_whitespace=False)
    password = PlainField(max_length=1_000, trim_whitespace=False, write_only=True)
    scope = serializers.ChoiceField([*SCOPES, BOTH], default=BOTH, help_text="What the token shall be good for.")


class OldToken(serializers.Serializer[Any]):
    refresh = PlainField(max_length=200, trim_whitespace=False)


class Tokens(serializers.Serializer[Any]):
    access = serializers.CharField(help_text="For the header Authorization: Bearer …, of the edge and of the API.")
    refresh = serializers.CharField(help_text="Good for one more pair, once.")
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds that the access token is good for.")
