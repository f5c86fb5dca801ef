"""Finds the few records that the database refuses among many it takes, by halves under savepoints."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

from django.db import connection, transaction

from todos.ingest.dead_letter_limit import TooManyDeadLetters
from todos.ingest.errors import ErrorKind, SystemicFailure, classify_error, sqlstate
from todos.ingest.parsing import TodoRow

Insert = Callable[[Sequence[TodoRow]], Counter[int]]


class RejectedTodo(NamedTuple):
    """The todo at this place of the batch, from 0, can never be stored."""

    place: int
    why: str


class Isolated(NamedTuple):
    """How many todos were new, by partition, and which were refused."""

    inserted: Counter[int]
    rejected: list[RejectedTodo]


def insert_bisecting(insert: Insert, todos: Sequence[TodoRow], at_most: int) -> Isolated:
    """Insert what can be inserted, in about 2 log2(n) statements for each record that cannot.

    Raises SystemicFailure when the fault is not in the records: a todo that is good for sure is refused too, or
    more than `at_most` are. Needs a transaction around it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a refusal at COMMIT would name no record
    _require_canary(insert)
    rejected: list[RejectedTodo] = []
    return Isolated(_insert_half(insert, todos, 0, rejected, at_most), rejected)


def _insert_half(
    insert: Insert, todos: Sequence[TodoRow], start: int, rejected: list[RejectedTodo], at_most: int
) -> Counter[int]:
    try:
        with transaction.atomic():
            return insert(todos)
    except Exception as exc:
        if classify_error(exc) is not ErrorKind.DATA:
            raise
        if len(todos) == 1:
            rejected.append(RejectedTodo(start, describe(exc)))
            if len(rejected) > at_most:
                raise TooManyDeadLetters(f"more than {at_most} records of a batch", describe(exc)) from exc
            return Counter()
    middle = len(todos) // 2
    return _insert_half(insert, todos[:middle], start, rejected, at_most) + _insert_half(
        insert, todos[middle:], start + middle, rejected, at_most
    )


def _require_canary(insert: Insert) -> None:
    """A todo that must fit is tried and taken back. Without it, a broken table would dead-letter all that comes."""
    canary = TodoRow(uuid4(), "canary", "", datetime.now(UTC), 0, 0)
    try:
        with transaction.atomic():
            insert([canary])
            transaction.set_rollback(True)
    except Exception as exc:
        if classify_error(exc) is not ErrorKind.DATA:
            raise
        raise SystemicFailure(f"the database refuses every todo: {describe(exc)}") from exc


def describe(exc: Exception) -> str:
    """One line without the record's own bytes, which the dead letter keeps beside it."""
    diagnosis = getattr(exc.__cause__, "diag", None)
    message = diagnosis.message_primary if diagnosis else str(exc).splitlines()[0]
    return f"{sqlstate(exc) or type(exc).__name__}: {message}".replace("\0", "")
