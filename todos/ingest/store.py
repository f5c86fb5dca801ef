"""Store a batch: its todos, its dead letters and the ledger's advance are one transaction."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from io import BytesIO
from itertools import chain
from typing import NamedTuple

from django.db import Error as DatabaseFailure
from django.db import connection, transaction

from todos.event_log import RecordIdentity
from todos.ingest.bisect import InsertResult, insert_bisecting
from todos.ingest.dead_letter_limit import DEFAULT_LIMIT, DeadLetterLimit
from todos.ingest.errors import ErrorKind, classify_error
from todos.ingest.parsing import ParsedBatch, TodoRow, build_dead_letter, copy_lines, named_owners
from todos.ledger.batch_history import UNKNOWN_WRITER, BatchCounts, WriterInfo, append_loss, record_batches
from todos.ledger.leases import Lease
from todos.models import UNTIL_REWIND, DeadLetter, OffsetLoss
from todos.owners import erased_among, present_owners

# Both are shorter than a lease, which the consumer renews between two attempts. The lock time-out is
# short, because after it the consumer stores the partitions whose ledger rows are not locked.
LOCK_TIMEOUT, STATEMENT_TIMEOUT = "2s", "10s"
# PostgreSQL takes no statement above 1 GiB, and quoting may double these bytes.
MAX_LETTERS_BYTES = 16 << 20

# Locks ledger rows in the order of their partitions, in which an UPDATE need not find them: two runs cannot deadlock.
LOCK_LEDGER = """
    SELECT FROM todos_partitionledger WHERE topic = %s AND partition = ANY(%s) ORDER BY partition FOR NO KEY UPDATE
"""
# Compares and swaps: it updates no row whose offset or epoch is not the expected one, nor one that waits for a rewind.
ADVANCE_LEDGER = """
    UPDATE todos_partitionledger l
    SET next_offset = move.next_offset, moved_at = now(),
        last_offset = coalesce(move.last_offset, l.last_offset),
        last_checksum = coalesce(move.last_checksum, l.last_checksum),
        last_leader_epoch = coalesce(move.last_leader_epoch, l.last_leader_epoch),
        halt_reason = '', alarm = '', halted_since = NULL, halt_epoch = NULL
    FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[])
        AS move (partition, expected, epoch, next_offset, last_offset, last_checksum, last_leader_epoch)
    WHERE l.topic = %s AND l.partition = move.partition
      AND l.next_offset = move.expected AND l.epoch = move.epoch AND l.halt_reason <> ALL(%s)
    RETURNING l.partition, l.generation
"""
# An ordinary read: an INSERT with ON CONFLICT would wait for a session that changes or deletes one of these todos.
FIND_STORED = "SELECT id::text, fingerprint FROM todos_todo WHERE id = ANY(%s::uuid[])"
COPY_TODOS = f"COPY todos_todo ({', '.join(TodoRow._fields)}) FROM STDIN"
ID_LENGTH = 36  # of a line, which begins with it

Insert = Callable[[ParsedBatch], InsertResult]


class LeaseLost(Exception):
    """Another worker took over a partition, or an operator moved its ledger. Nothing was stored."""


class StoreResult(NamedTuple):
    """How many todos were new, or stored before, and how many records became dead letters, or are of erased owners."""

    todos: int
    duplicates: int
    dead_letters: int
    erased: int = 0


def store(
    topic: str,
    leases: Mapping[int, Lease],
    batch: ParsedBatch,
    next_offsets: Mapping[int, int],
    *,
    limit: DeadLetterLimit = DEFAULT_LIMIT,
    writer: WriterInfo = UNKNOWN_WRITER,
) -> StoreResult:
    """Store a batch and advance the ledger of its partitions to `next_offsets`.

    The first attempt inserts all todos in one statement. If the database refuses some of them, a second transaction
    finds those by bisection and stores them as dead letters, or finds that another worker stored the same id just then.

    Raises LeaseLost, ChainBroken, SystemicFailure (TooManyDeadLetters above `limit`) or a DatabaseError; then nothing
    was stored.
    """
    attempt = partial(_store, topic, leases, batch, next_offsets, limit, writer)
    try:
        return attempt(lambda kept: InsertResult(insert_todos(kept.todos, kept.lines), []))
    except (DatabaseFailure, ValueError) as exc:
        if classify_error(exc) is not ErrorKind.DATA:
            raise
    return attempt(lambda kept: insert_bisecting(insert_todos, kept.todos, max_rejected=limit.allowed(len(batch))))


@transaction.atomic(durable=True)
def _store(
    topic: str,
    leases: Mapping[int, Lease],
    batch: ParsedBatch,
    next_offsets: Mapping[int, int],
    limit: DeadLetterLimit,
    writer: WriterInfo,
    insert: Insert,
) -> StoreResult:
    started = time.monotonic()
    # First: without its leases a run must write nothing.
    generations = advance_ledger(topic, leases, next_offsets, batch.last_records)
    # Only now, with the ledger's rows locked: an erasure waits for these locks, so it finds what this batch stores.
    kept, erased = leave_out_erased(batch)
    inserted, rejected = insert(kept)
    letters = kept.dead_letters + [
        build_dead_letter(topic, kept.sources[todo.index], DeadLetter.Reason.REJECTED, todo.reason) for todo in rejected
    ]
    if letters:
        limit.enforce(topic, generations, kept.count_by_partition(), letters)

    duplicates = Counter(todo.source_partition for todo in kept.todos)
    duplicates.subtract(inserted)
    duplicates.subtract(kept.todos[todo.index].source_partition for todo in rejected)
    if duplicates.total():
        conflicts = _find_conflicts(topic, kept, {todo.index for todo in rejected})
        duplicates.subtract(letter.partition for letter in conflicts)
        letters += conflicts  # after the limit: a client that reuses its keys must not halt a partition
    for chunk in _chunks(letters):
        # A rewound range brings dead letters that are there already; what operators did with them stays.
        DeadLetter.objects.bulk_create(chunk, ignore_conflicts=True)

    dead = Counter(letter.partition for letter in letters)
    record_batches(
        topic,
        generations,
        {partition: (leases[partition].next_offset, end) for partition, end in next_offsets.items()},
        BatchCounts(inserted, duplicates, dead, erased, batch.count_bytes()),
        batch.last_records,
        writer=writer,
        seconds=time.monotonic() - started,
    )
    return StoreResult(inserted.total(), duplicates.total(), dead.total(), erased.total())


@transaction.atomic(durable=True)
def record_loss(
    topic: str,
    leases: Mapping[int, Lease],
    partition: int,
    first_available: int,
    *,
    writer: WriterInfo = UNKNOWN_WRITER,
) -> OffsetLoss:
    """Record that Kafka deleted offsets before they were stored, and advance the ledger past them.

    Raises LeaseLost, ChainBroken or a DatabaseError; then nothing was recorded.
    """
    generations = advance_ledger(topic, leases, {partition: first_available}, {})
    loss = OffsetLoss(
        topic=topic, partition=partition, first_offset=leases[partition].next_offset, next_offset=first_available
    )
    append_loss(loss, generations[partition], writer)
    return loss


def advance_ledger(
    topic: str,
    leases: Mapping[int, Lease],
    next_offsets: Mapping[int, int],
    last_records: Mapping[int, RecordIdentity],
) -> dict[int, int]:
    """Advance each partition from its lease's offset, in the caller's transaction. Returns their generations.

    A partition without a record in `last_records` keeps the one that it has. Raises LeaseLost if the ledger of any
    partition is not where its lease says.
    """
    partitions = list(next_offsets)
    last = [last_records.get(partition) or (None, None, None) for partition in partitions]
    set_transaction_timeouts()
    with connection.cursor() as cursor:
        cursor.execute(LOCK_LEDGER, [topic, partitions])
        cursor.execute(
            ADVANCE_LEDGER,
            [
                partitions,
                [leases[partition].next_offset for partition in partitions],
                [leases[partition].epoch for partition in partitions],
                [next_offsets[partition] for partition in partitions],
                *(list(column) for column in zip(*last, strict=True)),
                topic,
                list(UNTIL_REWIND),
            ],
        )
        if cursor.rowcount != len(partitions):
            raise LeaseLost(f"{len(partitions) - cursor.rowcount} of {len(partitions)} partitions of {topic} moved on")
        return dict(cursor.fetchall())


def set_transaction_timeouts() -> None:
    """Limit how long each statement of the caller's transaction may wait for a lock, and run."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
            [LOCK_TIMEOUT, STATEMENT_TIMEOUT],
        )


def leave_out_erased(batch: ParsedBatch) -> tuple[ParsedBatch, Counter[int]]:
    """Return the batch without the records of erased owners, and the number of those by partition."""
    named = (owner for letter in batch.dead_letters for owner in named_owners(letter.value))
    owners = erased_among(chain((todo.owner for todo in batch.todos), named))
    if not owners:
        return batch, Counter()
    kept = batch.without_owners(owners)
    return kept, batch.count_by_partition() - kept.count_by_partition()


def insert_todos(todos: Sequence[TodoRow], lines: Sequence[str] = ()) -> Counter[int]:
    """Insert those todos that are not stored yet, and count them by partition. Of equal ids the first one wins.

    Inserts in the order of their ids, so that two batches cannot deadlock. `lines` are the todos' copy_lines, if known.
    Raises a DatabaseError (a unique violation if an id was stored meanwhile), or ValueError if a text has no encoding.
    """
    if not todos:
        return Counter()
    if present := present_owners({todo.owner for todo in todos}):
        todos, lines = [todo._replace(owner=present.get(todo.owner, todo.owner)) for todo in todos], ()
    lines = lines or copy_lines(todos)
    new = {line[:ID_LENGTH]: (line, todo) for line, todo in zip(reversed(lines), reversed(todos), strict=True)}
    for todo_id in _find_stored(new):
        del new[todo_id]
    if new:
        data = "\n".join(sorted(line for line, _ in new.values())).encode()
        with connection.cursor() as cursor, connection.wrap_database_errors:
            cursor.copy_expert(COPY_TODOS, BytesIO(data), len(data))  # psycopg2 takes Python's lock for each piece
    return Counter(todo.source_partition for _, todo in new.values())


def _find_stored(ids: Iterable[str]) -> dict[str, str]:
    """Return the fingerprint of each of these todos that is stored, by its id."""
    with connection.cursor() as cursor:
        cursor.execute(FIND_STORED, [f"{{{','.join(ids)}}}"])
        return dict(cursor.fetchall())


def _find_conflicts(topic: str, batch: ParsedBatch, rejected: AbstractSet[int]) -> list[DeadLetter]:
    """Return a dead letter for each record whose Idempotency-Key is stored with another content.

    They are discarded from the start: an operator has nothing to do, and the client's receipt reports the conflict.
    It needs the batch inserted, so that the first of two records in one batch wins too. `rejected` are indexes.
    """
    keyed = [(index, todo) for index, todo in enumerate(batch.todos) if todo.fingerprint and index not in rejected]
    stored = _find_stored(str(todo.id) for _, todo in keyed) if keyed else {}
    letters = []
    for index, todo in keyed:
        if stored.get(str(todo.id), "") in {"", todo.fingerprint}:  # empty: it came without an Idempotency-Key
            continue
        detail = f"todo {todo.id} came first, with another content under the same Idempotency-Key"
        letter = build_dead_letter(topic, batch.sources[index], DeadLetter.Reason.CONFLICT, detail)
        letter.status = DeadLetter.Status.DISCARDED
        letters.append(letter)
    return letters


def _chunks(letters: Iterable[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """Split dead letters, in order, into what one statement can hold; a single one always fits."""
    chunk: list[DeadLetter] = []
    size = 0
    for letter in letters:
        letter_size = len(letter.key or b"") + len(letter.value or b"")
        letter_size += sum(len(name) + len(value or "") for name, value in letter.headers)
        if chunk and size + letter_size > MAX_LETTERS_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(letter)
        size += letter_size
    if chunk:
        yield chunk
