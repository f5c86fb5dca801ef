from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from todos.models import Todo
from todos.validators import DESCRIPTION, TITLE, InvalidText, Text


@extend_schema_field({"type": "string", "pattern": r"^[^\u0000]*$"})
class PlainField(serializers.CharField):
    """As REST framework has it; the document would not tell that it refuses U+0000."""


class ContractField(serializers.Field):
    """Not a CharField, which trims other characters, turns numbers into text, and has its own say in the document."""

    text: Text

    def run_validation(self, data: Any = empty) -> Any:
        is_empty, data = self.validate_empty_values(data)
        if is_empty:
            return data
        try:
            return self.text.check(data)
        except InvalidText as exc:
            raise serializers.ValidationError(str(exc)) from exc

    def to_representation(self, value: str) -> str:
        return value


@extend_schema_field(TITLE.adapter.json_schema())
class TitleField(ContractField):
    text = TITLE


@extend_schema_field(DESCRIPTION.adapter.json_schema())
class DescriptionField(ContractField):
    text = DESCRIPTION


class StrictBooleanField(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class TodoSerializer(serializers.ModelSerializer[Todo]):
    """A todo; title, description and is_done may be changed."""

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
