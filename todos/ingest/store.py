"""The transaction: todos, dead letters and the ledger's move stand or fall together."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from django.db import Error as DatabaseFailure
from django.db import connection, transaction
from pydantic_core import to_json

from todos.ingest.bisect import Isolated, insert_bisecting
from todos.ingest.conflicts import find_conflicts
from todos.ingest.dead_letter_limit import enforce_limit, max_dead_letters
from todos.ingest.errors import ErrorKind, classify_error
from todos.ingest.parsing import ParsedBatch, TodoRow, dead_letter
from todos.ledger.batch_history import UNKNOWN_WRITER, BatchCounts, WriterInfo, append_batches, record_batches
from todos.ledger.leases import Lease
from todos.models import Batch, DeadLetter, OffsetLoss

# Shorter than a lease, which the poll renews between two tries.
LOCK_TIMEOUT, STATEMENT_TIMEOUT = "5s", "10s"
# PostgreSQL takes no statement above 1 GiB, and quoting may double what is here.
MAX_LETTERS_BYTES = 16 << 20

MOVE_LEDGER = """
    UPDATE todos_partitionledger l SET next_offset = move.next_offset, moved_at = now(), alarm = ''
    FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bigint[]) AS move (partition, expected, epoch, next_offset)
    WHERE l.topic = %s AND l.partition = move.partition
      AND l.next_offset = move.expected AND l.epoch = move.epoch
    RETURNING l.partition, l.generation
"""
# Each column is one JSON array: psycopg2's own lists cost an object and a literal per value, 2.5 times as long in all.
INSERT_TODOS = """
    WITH inserted AS (
        INSERT INTO todos_todo
            (id, title, description, is_done, created_at, stored_at, updated_at,
             source_partition, source_offset, request_id, fingerprint, owner)
        SELECT id::uuid, title, description, false, created_at::timestamptz, now(), now(),
               source_partition::int, source_offset::bigint, request_id, fingerprint, owner
        FROM ROWS FROM (json_array_elements_text(%s), json_array_elements_text(%s), json_array_elements_text(%s),
                        json_array_elements_text(%s), json_array_elements_text(%s), json_array_elements_text(%s),
                        json_array_elements_text(%s), json_array_elements_text(%s), json_array_elements_text(%s))
            AS new (id, title, description, created_at, source_partition, source_offset, request_id, fingerprint, owner)
        ON CONFLICT (id) DO NOTHING
        RETURNING source_partition)
    SELECT source_partition, count(*) FROM inserted GROUP BY source_partition
"""


Breaker = Callable[[Mapping[int, int], Counter[int], Sequence[DeadLetter]], None]


class LeaseLost(Exception):
    """Another worker took a partition over, or an operator moved it. Nothing was stored."""


class StoreResult(NamedTuple):
    """How many todos were new, how many were there before, and how many records are dead letters, with conflicts."""

    todos: int
    duplicates: int
    dead_letters: int


def store(
    topic: str,
    held: Mapping[int, Lease],
    batch: ParsedBatch,
    next_offsets: Mapping[int, int],
    *,
    dead_letter_percent: int = 50,
    strict: bool = False,
    origin: WriterInfo = UNKNOWN_WRITER,
) -> StoreResult:
    """Store a batch and move the ledger of its partitions to `next_offsets`.

    A record that the database refuses becomes a dead letter; when more than `dead_letter_percent` would become dead
    letters, none does: see dead_letter_limit. Clients that use an Idempotency-Key twice make conflicts, which do not
    count there. Raises LeaseLost, ChainBroken, SystemicFailure or a DatabaseError; then nothing has happened.
    """
    breaker = partial(enforce_limit, topic, percent=dead_letter_percent, strict=strict)
    try:
        return _store(
            topic, held, batch, next_offsets, origin, breaker, lambda todos: Isolated(insert_todos(todos), [])
        )
    except (DatabaseFailure, ValueError) as exc:
        if classify_error(exc) is not ErrorKind.DATA:
            raise
    at_most = max_dead_letters(len(batch), dead_letter_percent)
    isolate = partial(insert_bisecting, insert_todos, at_most=at_most)
    return _store(topic, held, batch, next_offsets, origin, breaker, isolate)


@transaction.atomic(durable=True)
def _store(
    topic: str,
    held: Mapping[int, Lease],
    batch: ParsedBatch,
    next_offsets: Mapping[int, int],
    origin: WriterInfo,
    breaker: Breaker,
    insert: Callable[[Sequence[TodoRow]], Isolated],
) -> StoreResult:
    started = time.monotonic()
    generations = advance_ledger(topic, held, next_offsets)
    inserted, rejected = insert(batch.todos)
    letters = batch.dead_letters + [
        dead_letter(topic, batch.sources[place], DeadLetter.Reason.REJECTED, why) for place, why in rejected
    ]
    if letters:
        breaker(generations, batch.by_partition(), letters)
    duplicates = Counter(todo.source_partition for todo in batch.todos)
    duplicates.subtract(inserted)
    duplicates.subtract(batch.todos[place].source_partition for place, _ in rejected)
    if duplicates.total():
        conflicts = find_conflicts(topic, batch, without={place for place, _ in rejected})
        duplicates.subtract(letter.partition for letter in conflicts)
        letters += conflicts
    for some in _by_statement(letters):
        # A rewound range brings dead letters that are there already; what operators did with them stays.
        DeadLetter.objects.bulk_create(some, ignore_conflicts=True)
    dead = Counter(letter.partition for letter in letters)
    record_batches(
        topic,
        generations,
        {partition: (held[partition].next_offset, end) for partition, end in next_offsets.items()},
        BatchCounts(inserted, duplicates, dead, batch.bytes),
        origin=origin,
        seconds=time.monotonic() - started,
    )
    return StoreResult(inserted.total(), duplicates.total(), dead.total())


def _by_statement(letters: Iterable[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """In order, as many at a time as one statement should hold; one is never too large."""
    some: list[DeadLetter] = []
    size = 0
    for letter in letters:
        more = len(letter.key or b"") + len(letter.value or b"")
        more += sum(len(name) + len(content or "") for name, content in letter.headers)
        if some and size + more > MAX_LETTERS_BYTES:
            yield some
            some, size = [], 0
        some.append(letter)
        size += more
    if some:
        yield some


@transaction.atomic(durable=True)
def record_loss(
    topic: str, held: Mapping[int, Lease], partition: int, first_available: int, *, origin: WriterInfo = UNKNOWN_WRITER
) -> OffsetLoss:
    """Kafka deleted what was not read yet: say so where operators look, and go on behind the gap."""
    generations = advance_ledger(topic, held, {partition: first_available})
    return write_loss(
        OffsetLoss(
            topic=topic, partition=partition, first_offset=held[partition].next_offset, next_offset=first_available
        ),
        generations[partition],
        origin,
    )


def write_loss(loss: OffsetLoss, generation: int, origin: WriterInfo) -> OffsetLoss:
    """In the caller's transaction: the loss, which stays, and its place in the chain of batches."""
    where = {name: getattr(loss, name) for name in ("topic", "partition", "first_offset", "next_offset")}
    append_batches(
        [Batch(**where, generation=generation, lost=loss.next_offset - loss.first_offset, **origin._asdict())]
    )
    loss.save()
    return loss


def advance_ledger(topic: str, held: Mapping[int, Lease], next_offsets: Mapping[int, int]) -> dict[int, int]:
    """Compare and swap. It comes first, so that a poll that lost its lease fails before it writes anything.

    Returns the generation of each partition.
    """
    partitions = sorted(next_offsets)  # one order for all, against deadlocks
    with connection.cursor() as cursor:
        set_transaction_timeouts()
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
        return dict(cursor.fetchall())


def set_transaction_timeouts() -> None:
    """For the rest of this transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
            [LOCK_TIMEOUT, STATEMENT_TIMEOUT],
        )


def insert_todos(todos: Sequence[TodoRow]) -> Counter[int]:
    """How many were new, by partition."""
    if not todos:
        return Counter()
    with connection.cursor() as cursor:
        cursor.execute(INSERT_TODOS, [to_json(column).decode() for column in zip(*todos, strict=True)])
        return Counter(dict(cursor.fetchall()))
