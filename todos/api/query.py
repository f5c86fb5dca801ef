"""The parameters in the URLs of the API."""

from datetime import UTC, datetime
from math import isfinite
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from edge_api.contract import EARLIEST, LATEST, TITLE_MAX
from todos.api.serializers import PlainField
from todos.selectors import PageCursor

PAGE_SIZE, MAX_PAGE_SIZE = 50, 1000
NOT_A_TIME = "Must be ISO 8601 with an offset from UTC, such as 2026-01-31T12:00:00Z; a + is %2B in a URL."
LONGEST_WAIT_SECONDS = 10
NEWEST_FIRST, OLDEST_FIRST = "-created_at", "created_at"


@extend_schema_field({"type": "string", "format": "cursor"})
class CursorField(serializers.Field):
    def to_internal_value(self, data: Any) -> PageCursor:
        try:
            return PageCursor.decode(str(data))
        except ValueError:
            raise serializers.ValidationError("Must come from a link of this list.") from None


@extend_schema_field(OpenApiTypes.DATETIME)
class TimeField(serializers.Field):
    def to_internal_value(self, data: Any) -> datetime:
        """Return the nearest time that a todo can have."""
        try:
            time = datetime.fromisoformat(str(data).upper())
        except ValueError:
            raise serializers.ValidationError(NOT_A_TIME) from None
        if time.tzinfo is None:
            raise serializers.ValidationError(NOT_A_TIME)
        return min(max(time, EARLIEST), LATEST).astimezone(UTC)


@extend_schema_field(OpenApiTypes.BOOL)
class TrueOrFalseField(serializers.Field):
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
        """Refuse NaN and infinity, which pass any comparison with the limits."""
        seconds = float(super().to_internal_value(data))
        if not isfinite(seconds):
            self.fail("invalid")
        return seconds


class Query(serializers.Serializer):
    """Parameters of a URL. An unknown parameter, or one given twice, is an error."""

    def to_internal_value(self, data: Any) -> Any:
        known = {*self.fields, "format"}  # REST framework's own
        unknown = {name: "Is not a parameter of this path." for name in data if name not in known}
        twice = {name: "Must be given once." for name in data if len(data.getlist(name)) > 1}
        if unknown or twice:
            raise serializers.ValidationError(unknown | twice)
        return super().to_internal_value(data.dict())


class ListQuery(Query):
    """The parameters of GET /api/todos/."""

    is_done = TrueOrFalseField(required=False, help_text="Only todos that are done, or only those that are not.")
    created_after = TimeField(required=False, help_text="Created at this time or later.")
    created_before = TimeField(required=False, help_text="Created before this time.")
    search = SearchField(
        required=False,
        max_length=TITLE_MAX,
        trim_whitespace=False,
        help_text="A part of the title, in upper or lower case.",
    )
    ordering = serializers.ChoiceField(
        [NEWEST_FIRST, OLDEST_FIRST], required=False, default=NEWEST_FIRST, help_text="Newest first, or oldest first."
    )
    page_size = PageSizeField(
        required=False,
        default=PAGE_SIZE,
        min_value=1,
        help_text=f"At most {MAX_PAGE_SIZE:,}; a larger number counts as {MAX_PAGE_SIZE:,}.",
    )
    cursor = CursorField(required=False, help_text="From `next` or `previous` of another page.")


class ReceiptQuery(Query):
    """The parameters of GET /api/receipts/<todo id>/<partition>-<offset>/."""

    wait = SecondsField(
        default=0, min_value=0, max_value=LONGEST_WAIT_SECONDS, help_text="How many seconds to wait for the outcome."
    )
