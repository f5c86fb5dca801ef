"""What may be asked in a URL, and the todos that are meant by it."""

from datetime import UTC, datetime
from math import isfinite
from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from edge_api.contract import EARLIEST, LATEST, TITLE_MAX
from todos.api.serializers import PlainField
from todos.models import Todo
from todos.selectors import Position, Search

PAGE_SIZE, MAX_PAGE_SIZE = 50, 1000
WINDOW = 10_000  # todos that one page of a search looks at: some 10 ms
NO_MOMENT = "Must be ISO 8601 with an offset from UTC, such as 2026-01-31T12:00:00Z; a + is %2B in a URL."
LONGEST_WAIT_SECONDS = 10
NEWEST_FIRST, OLDEST_FIRST = "-created_at", "created_at"


@extend_schema_field({"type": "string", "format": "cursor"})
class CursorField(serializers.Field):
    def to_internal_value(self, data: Any) -> Position:
        try:
            return Position.decode(str(data))
        except (ValueError, IndexError):
            raise serializers.ValidationError("Must come from a link of this list.") from None


@extend_schema_field(OpenApiTypes.DATETIME)
class MomentField(serializers.Field):
    def to_internal_value(self, data: Any) -> datetime:
        """A moment that no todo can have stands for the nearest one that it can."""
        try:
            moment = datetime.fromisoformat(str(data).upper())
        except ValueError:
            raise serializers.ValidationError(NO_MOMENT) from None
        if moment.tzinfo is None:
            raise serializers.ValidationError(NO_MOMENT)
        return min(max(moment, EARLIEST), LATEST).astimezone(UTC)


@extend_schema_field(OpenApiTypes.BOOL)
class SwitchField(serializers.Field):
    def to_internal_value(self, data: Any) -> bool:
        if data not in ("true", "false"):
            raise serializers.ValidationError("Must be true or false.")
        return bool(data == "true")


class PageSizeField(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        return min(super().to_internal_value(data), MAX_PAGE_SIZE)


class SearchField(PlainField):
    def to_internal_value(self, data: Any) -> str:
        return str(data)


class SecondsField(serializers.FloatField):
    def to_internal_value(self, data: Any) -> float:
        """What is not a number is neither too small nor too large."""
        seconds = float(super().to_internal_value(data))
        if not isfinite(seconds):
            self.fail("invalid")
        return seconds


class Query(serializers.Serializer):
    """Every parameter there is; another one, or one given twice, is refused."""

    def to_internal_value(self, data: Any) -> Any:
        known = {*self.fields, "format"}  # the latter is REST framework's own
        strange = {name: "Is no parameter here." for name in data if name not in known}
        twice = {name: "Must be given once." for name in data if len(data.getlist(name)) > 1}
        if strange or twice:
            raise serializers.ValidationError(strange | twice)
        return super().to_internal_value(data.dict())


class ListQuery(Query):
    """Of GET /api/todos/."""

    is_done = SwitchField(required=False, help_text="Only what is done, or what is not.")
    created_after = MomentField(required=False, help_text="Created at this moment or later.")
    created_before = MomentField(required=False, help_text="Created before this moment, and not at it.")
    search = SearchField(
        required=False,
        max_length=TITLE_MAX,
        trim_whitespace=False,
        help_text="A part of the title, in any case of its letters.",
    )
    ordering = serializers.ChoiceField(
        [NEWEST_FIRST, OLDEST_FIRST], required=False, default=NEWEST_FIRST, help_text="Newest first, or oldest first."
    )
    page_size = PageSizeField(
        required=False, default=PAGE_SIZE, min_value=1, help_text=f"{MAX_PAGE_SIZE:,} at most; more is taken for that."
    )
    cursor = CursorField(required=False, help_text="From `next` or `previous` of another page.")


class ReceiptQuery(Query):
    wait = SecondsField(
        default=0, min_value=0, max_value=LONGEST_WAIT_SECONDS, help_text="Seconds to wait at most until it is known."
    )


def indexed(todos: QuerySet[Todo], asked: dict[str, Any]) -> QuerySet[Todo]:
    """Narrowed as far as an index does it."""
    if "created_after" in asked:
        todos = todos.filter(created_at__gte=asked["created_after"])
    if "created_before" in asked:
        todos = todos.filter(created_at__lt=asked["created_before"])
    return todos.filter(is_done=True) if asked.get("is_done") else todos


def search(asked: dict[str, Any]) -> Search | None:
    """What is left, which no index finds."""
    condition = Q(title__icontains=asked["search"]) if "search" in asked else Q()
    if asked.get("is_done") is False:
        condition &= Q(is_done=False)
    return Search(condition, WINDOW) if condition else None
