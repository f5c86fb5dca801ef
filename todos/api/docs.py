"""What the OpenAPI document says beyond what the code itself tells: errors, headers, examples."""

from collections.abc import Callable, Set
from typing import Any, TypeVar

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers

from edge_api.contract import MAX_BODY_BYTES
from todos.api.bulk import BulkAnswerSerializer, BulkSerializer
from todos.api.problems import MAX_ERRORS, MEDIA_TYPE
from todos.api.query import WINDOW, ListQuery
from todos.api.serializers import TodoSerializer

F = TypeVar("F", bound=Callable[..., Any])
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
ERRORS = {
    400: "A parameter, a field or the body is wrong; `errors` names each.",
    401: "Nobody is signed in, or the token is not good (any more).",
    403: "The token lacks the scope, or the session its CSRF token.",
    404: "There is no such todo.",
    406: "Nothing that Accept asks for can be given.",
    412: "The todo has changed: its ETag is not in If-Match any more.",
    413: f"The body is larger than {MAX_BODY_BYTES:,} bytes.",
    415: "The content type is not application/json.",
    429: "Too many requests; Retry-After says when to try again.",
    500: "The service failed in an unexpected way.",
    503: "The database does not answer at the moment; Retry-After says when to try again.",
}
ALWAYS = {401, 403, 406, 429, 500, 503}


class FieldProblem(serializers.Serializer):
    field = serializers.CharField(help_text='A dotted path, "body" for the whole body, or a parameter\'s name.')
    message = serializers.CharField()


class ProblemDetails(serializers.Serializer):
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = FieldProblem(many=True, help_text=f"{MAX_ERRORS} at most.")  # type: ignore[assignment]


def documented(
    success: dict[int, Any],
    *errors: int,
    always: Set[int] = ALWAYS,
    texts: dict[int, str] | None = None,
    **options: Any,
) -> Callable[[F], F]:
    """`texts` say something else of an error than it usually means."""
    meanings, codes = ERRORS | (texts or {}), sorted(always | {*errors})
    problems = {(code, MEDIA_TYPE): OpenApiResponse(ProblemDetails, meanings[code]) for code in codes}
    return extend_schema(responses=success | problems, **options)


def header(name: str, text: str, **options: Any) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, description=text, **options)


IF_MATCH = header("If-Match", "The ETag as it was read: the change is made only if the todo has not changed since.")
IF_NONE_MATCH = header("If-None-Match", "An ETag that is known: 304 if the todo still has it.")
ETAG = header("ETag", "Changes whenever the todo does.", response=[200, 304])
ONE = OpenApiExample("A todo", TODO, response_only=True)
CHANGE = OpenApiExample("A change", {"is_done": True}, request_only=True)
WHOLE = OpenApiExample("A whole todo", {"title": "Do homework", "description": "", "is_done": True}, request_only=True)
EDITED = {200: TodoSerializer}
BAD = {400, 404, 412, 413, 415}
GUARDED = "With `If-Match` it is done only if nobody has changed the todo since it was read; without, in any case."

listed = documented(
    {200: TodoSerializer(many=True)},
    400,
    summary="Find todos",
    description=(
        "Newest first, or oldest first. `next` and `previous` lead on; keep to them, since a page's price is the same "
        f"wherever it is. A page of a search, or of what is not done, looks at {WINDOW:,} todos at most: it may hold "
        "fewer than asked for, or none, while `next` still leads on."
    ),
    parameters=[ListQuery],
    examples=[ONE],
)
read = documented(
    {200: TodoSerializer, 304: OpenApiResponse(description="The client knows it already.")},
    404,
    summary="Read a todo",
    description="With its ETag, which `If-None-Match` and `If-Match` take.",
    parameters=[IF_NONE_MATCH, ETAG],
    examples=[ONE],
)
replaced = documented(
    EDITED, *BAD, summary="Replace a todo", description=GUARDED, parameters=[IF_MATCH, ETAG], examples=[ONE, WHOLE]
)
changed = documented(
    EDITED, *BAD, summary="Change a todo", description=GUARDED, parameters=[IF_MATCH, ETAG], examples=[ONE, CHANGE]
)
deleted = documented(
    {204: OpenApiResponse(description="It is gone.")}, 404, 412, summary="Delete a todo", description=GUARDED,
    parameters=[IF_MATCH],
)  # fmt: skip
bulk = documented(
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
