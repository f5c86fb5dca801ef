"""Todos in requests and responses."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from todos.models import Todo
from todos.validators import DESCRIPTION, TITLE, InvalidText, TextValidator


@extend_schema_field({"type": "string", "pattern": r"^[^\u0000]*$"})
class PlainField(serializers.CharField):
    """REST framework's CharField; documents that U+0000 is refused."""


class ContractField(serializers.Field):
    """A text by the contract's rules.

    A CharField would trim other characters, turn numbers into text, and document its own rules.
    """

    validator: TextValidator

    def run_validation(self, data: Any = empty) -> Any:
        is_empty, data = self.validate_empty_values(data)
        if is_empty:
            return data
        try:
            return self.validator.check(data)
        except InvalidText as exc:
            raise serializers.ValidationError(str(exc)) from exc

    def to_representation(self, value: str) -> str:
        return value


@extend_schema_field(TITLE.adapter.json_schema())
class TitleField(ContractField):
    validator = TITLE


@extend_schema_field(DESCRIPTION.adapter.json_schema())
class DescriptionField(ContractField):
    validator = DESCRIPTION


class StrictBooleanField(serializers.BooleanField):
    """Refuses numbers and texts, which REST framework would accept."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class TodoSerializer(serializers.ModelSerializer[Todo]):
    """A todo. Its title, description and is_done can be changed."""

    title = TitleField()
    description = DescriptionField(required=False, style={"base_template": "textarea.html"})
    is_done = StrictBooleanField(required=False)

    class Meta:
        model = Todo
        fields = [
            "id",
            "title",
            "description",
            "is_done",
            "created_at",
            "stored_at",
            "updated_at",
            "source_partition",
            "source_offset",
        ]
        read_only_fields = ["updated_at"]
