"""Bounds on how many JSON values a body holds, counted in its bytes before a parser sees it.

A small body can hold tens of thousands of values, and each costs the parser and the validation far more than a byte
of text does. Every nested array or object is a value too, so the count also bounds the depth.
"""

from collections.abc import Iterable
from http import HTTPStatus

from edge_api.contract import MAX_BATCH_TODOS, FieldError, TodoFields
from edge_api.problems import Problem
from edge_api.shared.problems import MAX_ERRORS

MAX_FIELDS = MAX_ERRORS  # of a todo, so that a response can name each one that is wrong
MAX_BATCH_VALUES = 10 * MAX_BATCH_TODOS
MAX_BATCH_ERRORS = 1_000  # that a response shows; beyond them, each todo that is rejected shows its first

TOO_MANY_FIELDS = FieldError("body", f"must have at most {MAX_FIELDS} fields, counting nested values")
_TOO_LARGE = FieldError(
    "body", f"must hold at most {MAX_BATCH_TODOS:,} todos, and {MAX_BATCH_VALUES:,} JSON values in all"
)


def check_todo(body: bytes) -> None:
    """Raise Problem 422 if the body of one todo holds more than MAX_FIELDS values."""
    if _estimate(body) > MAX_FIELDS and _count(body, MAX_FIELDS) > MAX_FIELDS:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The todo is not valid.", errors=[TOO_MANY_FIELDS])


def check_batch(body: bytes, documents: Iterable[bytes]) -> None:
    """Raise Problem 413 if the JSON `documents` that make up `body` hold more than MAX_BATCH_VALUES values."""
    if _estimate(body) <= MAX_BATCH_VALUES:
        return
    values = 0
    for document in documents:
        values += _count(document, MAX_BATCH_VALUES)
        if values > MAX_BATCH_VALUES:
            raise batch_too_large()


def has_too_many_strings(body: bytes) -> bool:
    """Return whether the body holds more strings than the names and values of MAX_BATCH_TODOS valid todos."""
    return _quotes(body) > 4 * len(TodoFields.model_fields) * MAX_BATCH_TODOS


def batch_too_large() -> Problem:
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The batch is too large.", errors=[_TOO_LARGE])


def _estimate(text: bytes) -> int:
    """Return at least the number of values that the top-level array or object of a JSON document holds."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _quotes(document: bytes) -> int:
    """Return at most the number of quotes around strings: one that follows a string's last backslash is not counted."""
    return document.count(b'"') - document.count(rb"\"")


def _count(document: bytes, enough: int) -> int:
    """Return the same without the text of strings, or a number above `enough` if there are more strings than that.

    It is right up to the first byte that is not JSON, where a parser stops.
    """
    if _quotes(document) > 4 * (enough + 1):  # a value has two, and its name two more
        return enough + 1
    without_escapes = document.replace(rb"\\", b"").replace(rb"\"", b"")
    return _estimate(b"".join(without_escapes.split(b'"')[::2]))
