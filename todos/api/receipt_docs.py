"""What the OpenAPI document says of receipts."""

from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework import serializers

from todos.api.docs import TODO_ID, FieldProblem, documented, header
from todos.api.query import LONGEST_WAIT_SECONDS, ReceiptQuery
from todos.receipts.lookup import ReceiptStatus

TODO_URL = f"https://todo.example/api/todos/{TODO_ID}/"


class ReceiptAnswer(serializers.Serializer):
    status = serializers.ChoiceField([status.value for status in ReceiptStatus])
    todo = serializers.URLField(allow_null=True, help_text="What is stored under this id.")
    reason = serializers.CharField(allow_null=True, help_text="Why it is not stored, for people.")
    errors = FieldProblem(many=True, help_text="The fields at fault.")  # type: ignore[assignment]


def _number(name: str) -> OpenApiParameter:
    return OpenApiParameter(name, {"type": "integer", "minimum": 0}, OpenApiParameter.PATH)


def _example(name: str, status: ReceiptStatus, *, todo: str | None = None, reason: str | None = None) -> OpenApiExample:
    value: dict[str, object] = {"status": status.value, "todo": todo, "reason": reason, "errors": []}
    return OpenApiExample(name, value, response_only=True, status_codes=["200"])


documented_receipt = documented(
    {200: ReceiptAnswer},
    400,
    404,
    texts={404: "It is no receipt, or one of somebody else's todo."},
    operation_id="receipts_retrieve",
    summary="Learn what became of a new todo",
    description=(
        "The edge's `Location`. With `wait` the answer is held until it is known, for "
        f"{LONGEST_WAIT_SECONDS} seconds at most; where many wait already it comes at once, still pending."
    ),
    parameters=[
        _number("partition"),
        _number("offset"),
        ReceiptQuery,
        header("Retry-After", "Of what is pending: seconds after which to ask again.", response=[200]),
    ],
    examples=[
        _example("Stored", ReceiptStatus.STORED, todo=TODO_URL),
        _example("Not read yet", ReceiptStatus.PENDING),
        _example("Refused", ReceiptStatus.REJECTED, reason="refused by the database"),
    ],
)
