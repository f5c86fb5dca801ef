from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from edge_api.contract import DESCRIPTION_MAX, TITLE_MAX
from todos.models import Todo
from todos.text import DESCRIPTION, TITLE, InvalidText, Text


class ContractField(serializers.CharField):
    """Not DRF's own rules, which trim other characters and turn numbers into text."""

    text: Text

    def run_validation(self, data: Any = empty) -> Any:
        is_empty, data = self.validate_empty_values(data)
        if is_empty:
            return data
        try:
            return self.text.check(data)
        except InvalidText as exc:
            raise serializers.ValidationError(str(exc)) from exc


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

    title = TitleField(max_length=TITLE_MAX)
    description = DescriptionField(max_length=DESCRIPTION_MAX, required=False)
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
