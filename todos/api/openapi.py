"""The OpenAPI document beyond what drf-spectacular reads from the code: errors, headers, examples, links."""

from collections.abc import Callable, Set
from typing import Any, TypeVar

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers

from edge_api.contract import MAX_BODY_BYTES
from edge_api.shared.problems import MAX_ERRORS, MEDIA_TYPE
from todos.api.bulk import BulkAnswerSerializer, BulkSerializer
from todos.api.pagination import WINDOW
from todos.api.query import LONGEST_WAIT_SECONDS, ListQuery, ReceiptQuery
from todos.api.serializers import TodoSerializer
from todos.receipts.lookup import ReceiptStatus
from todos.selectors import SEARCH_SECONDS

F = TypeVar("F", bound=Callable[..., Any])
ERRORS = {
    400: "A parameter, a field or the body is not valid; `errors` names each.",
    401: "The client is not signed in, or its token is not valid or has expired.",
    403: "The token lacks the scope, or a request with a session lacks its CSRF token.",
    404: "There is no such todo.",
    406: "None of the media types in Accept is available.",
    412: "The todo has changed: If-Match does not contain its ETag.",
    413: f"The body is larger than {MAX_BODY_BYTES:,} bytes.",
    415: "The content type is not application/json.",
    429: "Too many requests; Retry-After says when to try again.",
    500: "The service failed in an unexpected way.",
    503: "The database is unavailable; Retry-After says when to try again.",
}
ALWAYS = {401, 403, 406, 429, 500, 503}


# --- How an endpoint is documented


class FieldProblem(serializers.Serializer):
    field = serializers.CharField(help_text='A dotted path, "body" for the whole body, or a parameter\'s name.')
    message = serializers.CharField()


class ProblemDetails(serializers.Serializer):
    """An error as RFC 9457 defines it."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = FieldProblem(many=True, help_text=f"At most {MAX_ERRORS}.")  # type: ignore[assignment]


def documented(
    success: dict[int, Any],
    *errors: int,
    always: Set[int] = ALWAYS,
    texts: dict[int, str] | None = None,
    **options: Any,
) -> Callable[[F], F]:
    """Return a decorator that documents a view with its `success` responses and its error codes.

    `always` are the codes of every view. `texts` replace the usual meaning of a code.
    """
    meanings, codes = ERRORS | (texts or {}), sorted(always | {*errors})
    problems = {(code, MEDIA_TYPE): OpenApiResponse(ProblemDetails, meanings[code]) for code in codes}
    return extend_schema(responses=success | problems, **options)


def header(name: str, text: str, **options: Any) -> OpenApiParameter:
    """Return a header of the request, or of the response with `response=[200]`."""
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, description=text, **options)


# --- Todos

TODO_ID = "019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b"
TODO = {
    "id": TODO_ID,
    "title": "Do homework",
    "description": "Finish pending homeworks",
    "is_done": False,
    "created_at": "2026-01-31T12:00:00.123456Z",
    "stored_at": "2026-01-31T12:00:00.145678Z",
    "updated_at": "2026-01-31T12:00:00.145678Z",
    "source_partition": 2,
    "source_offset": 4711,
}
IF_MATCH = header("If-Match", "The ETag that was read: the change is made only if the todo has not changed since.")
IF_NONE_MATCH = header("If-None-Match", "An ETag that the client knows: 304 if the todo still has it.")
ETAG = header("ETag", "Changes whenever the todo does.", response=[200, 304])
ONE = OpenApiExample("A todo", TODO, response_only=True)
CHANGE = OpenApiExample("A change", {"is_done": True}, request_only=True)
WHOLE = OpenApiExample("A whole todo", {"title": "Do homework", "description": "", "is_done": True}, request_only=True)
EDITED = {200: TodoSerializer}
EDIT_ERRORS = {400, 404, 412, 413, 415}
CONDITIONAL = "With `If-Match`, only if the todo has not changed since it was read; without, unconditionally."

list_todos = documented(
    {200: TodoSerializer(many=True)},
    400,
    summary="Find todos",
    description=(
        "Newest first, or oldest first. Follow `next` and `previous`: every page costs the same. A page of a search, "
        f"or of todos that are not done, looks at {WINDOW:,} todos at most. So it may hold fewer todos than requested, "
        "or none, while `next` still leads to more. An owner's searches run one at a time, each for "
        f"{SEARCH_SECONDS} s at most."
    ),
    texts={
        429: "Too many requests, or another search of yours is running; Retry-After says when to try again.",
        503: "The database is unavailable, or the search took too long: narrow it, or try again after Retry-After.",
    },
    parameters=[ListQuery],
    examples=[ONE],
)
read_todo = documented(
    {200: TodoSerializer, 304: OpenApiResponse(description="The client knows this version already.")},
    404,
    summary="Read a todo",
    description="Returns the todo with its ETag, for `If-None-Match` and `If-Match`.",
    parameters=[IF_NONE_MATCH, ETAG],
    examples=[ONE],
)
replace_todo = documented(
    EDITED, *EDIT_ERRORS, summary="Replace a todo", description=CONDITIONAL, parameters=[IF_MATCH, ETAG],
    examples=[ONE, WHOLE],
)  # fmt: skip
change_todo = documented(
    EDITED, *EDIT_ERRORS, summary="Change a todo", description=CONDITIONAL, parameters=[IF_MATCH, ETAG],
    examples=[ONE, CHANGE],
)  # fmt: skip
delete_todo = documented(
    {204: OpenApiResponse(description="The todo is deleted.")}, 404, 412, summary="Delete a todo",
    description=CONDITIONAL, parameters=[IF_MATCH],
)  # fmt: skip
change_many = documented(
    {200: BulkAnswerSerializer},
    400,
    413,
    415,
    summary="Mark or delete many todos",
    request=BulkSerializer,
    examples=[
        OpenApiExample("Mark done", {"action": "done", "ids": [TODO_ID]}, request_only=True),
        OpenApiExample("One changed", {"results": [{"id": TODO_ID, "result": "changed"}]}, response_only=True),
    ],
)


# --- Receipts

TODO_URL = f"https://todo.example/api/todos/{TODO_ID}/"


class ReceiptAnswer(serializers.Serializer):
    status = serializers.ChoiceField([status.value for status in ReceiptStatus])
    todo = serializers.URLField(allow_null=True, help_text="The todo that is stored under this id.")
    reason = serializers.CharField(allow_null=True, help_text="Why the todo is not stored, for people.")
    errors = FieldProblem(many=True, help_text="The fields that are not valid.")  # type: ignore[assignment]


def _path_number(name: str) -> OpenApiParameter:
    return OpenApiParameter(name, {"type": "integer", "minimum": 0}, OpenApiParameter.PATH)


def _receipt(name: str, status: ReceiptStatus, *, todo: str | None = None, reason: str | None = None) -> OpenApiExample:
    value: dict[str, object] = {"status": status.value, "todo": todo, "reason": reason, "errors": []}
    return OpenApiExample(name, value, response_only=True, status_codes=["200"])


read_receipt = documented(
    {200: ReceiptAnswer},
    400,
    404,
    texts={404: "The path is not that of a receipt."},
    operation_id="receipts_retrieve",
    summary="Learn the outcome of a new todo",
    description=(
        "The edge's `Location`. With `wait` the response is delayed until the outcome is known, for "
        f"{LONGEST_WAIT_SECONDS} seconds at most. If too many clients wait already, it is sent at once, still pending. "
        "Another owner's todo has the outcome of a todo that does not exist: pending or deleted, by its position."
    ),
    parameters=[
        _path_number("partition"),
        _path_number("offset"),
        ReceiptQuery,
        header("Retry-After", "If pending: the seconds after which to ask again.", response=[200]),
    ],
    examples=[
        _receipt("Stored", ReceiptStatus.STORED, todo=TODO_URL),
        _receipt("Not read yet", ReceiptStatus.PENDING),
        _receipt("Refused", ReceiptStatus.REJECTED, reason="refused by the database"),
        _receipt("Unknown", ReceiptStatus.UNKNOWN, reason="Kafka lost its log at this position, and it was used again"),
    ],
)


# --- Links: which request may follow a response, and what it takes from the response

Links = dict[str, dict[str, Any]]
READ = "todos_retrieve"
EDITS = {"replace": "todos_update", "change": "todos_partial_update", "delete": "todos_destroy"}
REFRESH = {"operationId": "token_refresh_create", "requestBody": {"refresh": "$response.body#/refresh"}}


def _read(**parameters: str) -> Links:
    return {"read": {"operationId": READ, "parameters": parameters}}


def _edit(**parameters: str) -> Links:
    return {name: {"operationId": operation, "parameters": parameters} for name, operation in EDITS.items()}


FIRST_ID, SAME_ID, SAME_ETAG = "$response.body#/results/0/id", "$response.body#/id", "$response.header.ETag"
EDIT_UNLESS_CHANGED = _edit(**{"id": SAME_ID, "If-Match": SAME_ETAG})
LINKS: dict[str, Links] = {
    "todos_list": _read(id=FIRST_ID) | _edit(id=FIRST_ID),
    READ: _read(**{"id": SAME_ID, "If-None-Match": SAME_ETAG}) | EDIT_UNLESS_CHANGED,
    EDITS["replace"]: EDIT_UNLESS_CHANGED,
    EDITS["change"]: EDIT_UNLESS_CHANGED,
    "todos_bulk_create": _read(id=FIRST_ID),
    "receipts_retrieve": _read(id="$request.path.todo_id"),
    "token_create": {"refresh": REFRESH},
    "token_refresh_create": {"refresh": REFRESH},
}


def add_links(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the links to the document, as a postprocessing hook: drf-spectacular cannot declare them."""
    operations = {
        operation["operationId"]: operation for path in result["paths"].values() for operation in path.values()
    }
    for operation_id, links in LINKS.items():
        operations[operation_id]["responses"]["200"]["links"] = links
    return result
