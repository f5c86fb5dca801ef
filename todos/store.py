"""The transaction: todos, dead letters and the ledger's move stand or fall together."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from django.db import Error as DatabaseFailure
from django.db import connection, transaction

from todos.failures import Failure, SystemicFailure, sort_failure
from todos.isolate import Isolated, insert_isolating
from todos.leases import Lease
from todos.models import DeadLetter, OffsetLoss
from todos.records import Sorted, TodoRow, dead_letter

LOCK_TIMEOUT, STATEMENT_TIMEOUT = "5s", "60s"
BREAKER_MIN_RECORDS = 100

MOVE_LEDGER = """
    UPDATE todos_partitionledger l SET next_offset = move.next_offset, moved_at = now()
    FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bigint[]) AS move (partition, expected, epoch, next_offset)
    WHERE l.topic = %s AND l.partition = move.partition
      AND l.next_offset = move.expected AND l.epoch = move.epoch
"""
INSERT_TODOS = """
    INSERT INTO todos_todo
        (id, title, description, is_done, created_at, stored_at, updated_at, source_partition, source_offset)
    SELECT id, title, description, false, created_at, now(), now(), source_partition, source_offset
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::int[], %s::bigint[])
        AS new (id, title, description, created_at, source_partition, source_offset)
    ON CONFLICT (id) DO NOTHING
"""


class LeaseLost(Exception):
    """Another worker took a partition over, or an operator moved it. Nothing was stored."""


class Stored(NamedTuple):
    """How many todos were new, how many were there before, and how many records are dead letters."""

    todos: int
    duplicates: int
    dead_letters: int


def store(
    topic: str, held: Mapping[int, Lease], batch: Sorted, next_offsets: Mapping[int, int], dead_letter_percent: int = 50
) -> Stored:
    """Store a batch and move the ledger of its partitions to `next_offsets`.

    A record that the database refuses becomes a dead letter; when more of the batch than `dead_letter_percent` would
    become dead letters, none does. Raises LeaseLost, SystemicFailure or a DatabaseError; then nothing has happened.
    """
    at_most = _most_dead_letters(len(batch), dead_letter_percent)
    try:
        return _store(topic, held, batch, next_offsets, at_most, lambda todos: Isolated(insert_todos(todos), []))
    except (DatabaseFailure, ValueError) as exc:
        if sort_failure(exc) is not Failure.DATA:
            raise
    return _store(
        topic, held, batch, next_offsets, at_most, lambda todos: insert_isolating(insert_todos, todos, at_most)
    )


@transaction.atomic(durable=True)
def _store(
    topic: str,
    held: Mapping[int, Lease],
    batch: Sorted,
    next_offsets: Mapping[int, int],
    at_most: int,
    insert: Callable[[Sequence[TodoRow]], Isolated],
) -> Stored:
    move_ledger(topic, held, next_offsets)
    inserted, rejected = insert(batch.todos)
    letters = batch.dead_letters + [
        dead_letter(topic, batch.sources[place], DeadLetter.Reason.REJECTED, why) for place, why in rejected
    ]
    if len(letters) > at_most:
        raise SystemicFailure(
            f"{len(letters)} of {len(batch)} records cannot be stored, so none was made a dead letter;"
            f" if that is right, raise dead_letter_percent. The last one: {letters[-1].detail}"
        )
    DeadLetter.objects.bulk_create(letters, ignore_conflicts=True)  # a range read again has them already
    return Stored(inserted, len(batch.todos) - len(rejected) - inserted, len(letters))


def _most_dead_letters(records: int, percent: int) -> int:
    """A few bad records in a row are no sign of a general fault; most of a large batch is."""
    return records if records < BREAKER_MIN_RECORDS else records * percent // 100


@transaction.atomic(durable=True)
def record_loss(topic: str, held: Mapping[int, Lease], partition: int, first_available: int) -> OffsetLoss:
    """Kafka deleted what was not read yet: say so where operators look, and go on behind the gap."""
    move_ledger(topic, held, {partition: first_available})
    return OffsetLoss.objects.create(
        topic=topic, partition=partition, first_offset=held[partition].next_offset, next_offset=first_available
    )


def move_ledger(topic: str, held: Mapping[int, Lease], next_offsets: Mapping[int, int]) -> None:
    """Compare and swap. It comes first, so that a poll that lost its lease fails before it writes anything."""
    partitions = sorted(next_offsets)  # one order for all, against deadlocks
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
            [LOCK_TIMEOUT, STATEMENT_TIMEOUT],
        )
        cursor.execute(
            MOVE_LEDGER,
            [
                partitions,
                [held[partition].next_offset for partition in partitions],
                [held[partition].epoch for partition in partitions],
                [next_offsets[partition] for partition in partitions],
                topic,
            ],
        )
        if cursor.rowcount != len(partitions):
            raise LeaseLost(f"{len(partitions) - cursor.rowcount} of {len(partitions)} partitions of {topic} moved on")


def insert_todos(todos: Sequence[TodoRow]) -> int:
    if not todos:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(INSERT_TODOS, [list(column) for column in zip(*todos, strict=True)])
        return int(cursor.rowcount)
