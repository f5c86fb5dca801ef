"""From the body of POST /new/batch/ to its todos: a JSON array, or NDJSON with a todo a line; each is judged alone."""

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, NamedTuple

from edge_api.contract import (
    MAX_BATCH_TODOS,
    FieldError,
    InvalidPayload,
    UnreadablePayload,
    load_json,
    validate,
)
from edge_api.http.body import NDJSON
from edge_api.http.schemas import NewTodo
from edge_api.problems import Problem
from edge_api.shared.problems import MAX_ERRORS

# What is judged before other requests get their turn.
SLICE = 200


class Rejected(NamedTuple):
    """A todo's place in the batch goes to what is wrong with it."""

    status: HTTPStatus
    errors: list[FieldError]


async def read_todos(media_type: str, body: bytes) -> list[NewTodo | Rejected]:
    """At least one and at most MAX_BATCH_TODOS. Raises Problem when the body is no batch."""
    items = list(_lines(body)) if media_type == NDJSON else _array(body)
    if len(items) > MAX_BATCH_TODOS:
        raise _too_many()
    if not items:
        raise _no_batch("must hold at least one todo")
    todos = []
    for number, item in enumerate(items, 1):
        todos.append(_judge(item))
        if not number % SLICE:
            await asyncio.sleep(0)
    return todos


def _array(body: bytes) -> list[Any]:
    try:
        items = load_json(body)
    except UnreadablePayload as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body cannot be read.", errors=exc.errors) from exc
    if not isinstance(items, list):
        raise _no_batch("must be an array of todos")
    return items


def _lines(body: bytes) -> Iterator[Any]:
    """What each line holds, or why it cannot be read; blank lines are left out."""
    lines = body.split(b"\n", 2 * MAX_BATCH_TODOS)
    if len(lines) > 2 * MAX_BATCH_TODOS:
        raise _too_many()
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield load_json(line)
            except UnreadablePayload as exc:
                message = exc.errors[0].message
                yield Rejected(HTTPStatus.BAD_REQUEST, [FieldError(f"line {number}", message)])


def _judge(item: Any) -> NewTodo | Rejected:
    if isinstance(item, Rejected):
        return item
    if isinstance(item, dict) and len(item) > MAX_ERRORS:  # naming each of 100,000 fields would take long
        return Rejected(HTTPStatus.UNPROCESSABLE_ENTITY, [FieldError("body", "has too many fields")])
    try:
        return validate(NewTodo, item)
    except InvalidPayload as exc:
        return Rejected(HTTPStatus.UNPROCESSABLE_ENTITY, exc.errors)


def _no_batch(message: str) -> Problem:
    errors = [FieldError("body", message)]
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The batch is not valid.", errors=errors)


def _too_many() -> Problem:
    errors = [FieldError("body", f"must hold at most {MAX_BATCH_TODOS:,} todos")]
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The batch is too large.", errors=errors)
