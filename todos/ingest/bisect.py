"""Find the few todos that the database refuses among many that it accepts, by halves under savepoints."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

from django.db import connection, transaction

from todos.ingest.dead_letter_limit import TooManyDeadLetters
from todos.ingest.errors import UNIQUE_VIOLATION, ErrorKind, SystemicFailure, classify_error, sqlstate
from todos.ingest.parsing import TodoRow

Insert = Callable[[Sequence[TodoRow]], Counter[int]]


@dataclass(frozen=True)
class RejectedTodo:
    """A todo that can never be stored; `index` is its place in the batch, from 0."""

    index: int
    reason: str


class InsertResult(NamedTuple):
    """How many todos were new, by partition, and which the database refused."""

    inserted: Counter[int]
    rejected: list[RejectedTodo]


def insert_bisecting(insert: Insert, todos: Sequence[TodoRow], max_rejected: int) -> InsertResult:
    """Insert every todo that can be inserted, in about 2 log2(n) statements for each one that cannot.

    All statements together insert in the order of the ids, as one statement would: two batches cannot deadlock.

    The caller must be in a transaction. Raises SystemicFailure if the todos are not at fault: if the database refuses
    a todo that is valid for sure, or more than `max_rejected` of these.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a refusal at COMMIT would name no todo
    _insert_canary(insert)
    order = sorted(range(len(todos)), key=lambda index: todos[index].id.int)  # of equal ids the first one wins
    rejected: list[RejectedTodo] = []
    inserted = _insert_half(insert, [todos[index] for index in order], 0, rejected, max_rejected)
    in_batch = [RejectedTodo(order[todo.index], todo.reason) for todo in rejected]
    return InsertResult(inserted, sorted(in_batch, key=lambda todo: todo.index))


def describe(exc: Exception) -> str:
    """Describe a refusal in one line, without the record's own bytes: the dead letter keeps those."""
    diagnosis = getattr(exc.__cause__, "diag", None)
    message = diagnosis.message_primary if diagnosis else str(exc).splitlines()[0]
    return f"{sqlstate(exc) or type(exc).__name__}: {message}".replace("\0", "")


def _insert_half(
    insert: Insert, todos: Sequence[TodoRow], start: int, rejected: list[RejectedTodo], limit: int, tries: int = 2
) -> Counter[int]:
    try:
        with transaction.atomic():
            return insert(todos)
    except Exception as exc:
        if classify_error(exc) is not ErrorKind.DATA:
            raise
        if sqlstate(exc) == UNIQUE_VIOLATION and tries > 1:  # another batch stored one of the ids just now
            return _insert_half(insert, todos, start, rejected, limit, tries - 1)
        if len(todos) == 1:
            rejected.append(RejectedTodo(start, describe(exc)))
            if len(rejected) > limit:
                raise TooManyDeadLetters(f"more than {limit} records of a batch", describe(exc)) from exc
            return Counter()
    middle = len(todos) // 2
    return _insert_half(insert, todos[:middle], start, rejected, limit) + _insert_half(
        insert, todos[middle:], start + middle, rejected, limit
    )


def _insert_canary(insert: Insert) -> None:
    """Insert a valid todo and roll it back. Without this check, a broken table would dead-letter every record."""
    canary = TodoRow(uuid4(), "canary", "", datetime.now(UTC), 0, 0)
    try:
        with transaction.atomic():
            insert([canary])
            transaction.set_rollback(True)
    except Exception as exc:
        if classify_error(exc) is not ErrorKind.DATA:
            raise
        raise SystemicFailure(f"the database refuses every todo: {describe(exc)}") from exc
