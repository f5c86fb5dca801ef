"""Read a range of the topic again, and prove what became of each offset.

It proves: each record that Kafka still has is a todo from that very position, a duplicate of a todo that came from
another one, a dead letter of that position, part of a recorded loss, or none of these. A todo that someone deleted
leaves no row; it counts as deleted only where a batch of the history, all of whose records are still in Kafka, says
that as many todos were stored there as Kafka holds. Who deleted it, a user or an accident, no one can tell.
It does not compare titles and descriptions, and says nothing of rows that no record of the range accounts for.
"""

import time
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from django.db import connection

from todos.event_log import Log, LogUnavailable, OffsetRange, Record
from todos.ingest.parsing import UnsupportedVersion, parse_records
from todos.ledger.batch_history import broken_chains
from todos.models import Batch, DeadLetter, OffsetLoss, PartitionLedger, Todo

CHUNK_RECORDS = 5_000
SILENCE_SECONDS, RETRY_SECONDS = 15.0, 0.2

GAPS = """
    SELECT generation, first_offset FROM (
        SELECT generation, first_offset,
               lag(next_offset) OVER (PARTITION BY generation ORDER BY next_offset) AS end_before
        FROM todos_batch WHERE topic = %s AND partition = %s) chain
    WHERE first_offset IS DISTINCT FROM end_before ORDER BY 1, 2
"""


class TooNewToJudge(Exception):
    """A newer worker stored it."""

    def __init__(self, partition: int, record: UnsupportedVersion) -> None:
        super().__init__(f"partition {partition}: {record}")


class Kind(StrEnum):
    """What an offset is, exactly one of these."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    DEAD_LETTER = "dead letter"
    LOST = "recorded loss"
    DELETED = "stored once, deleted since"
    MISSING = "neither row nor dead letter"
    TWICE = "both row and dead letter"
    PENDING = "not stored yet"
    ABSENT = "no record in the log"
    GONE = "deleted by Kafka, cannot be read again"


@dataclass
class PartitionAudit:
    """One partition from `first` up to `end`. `problems` are those of the ledger and the history as a whole."""

    partition: int
    first: int
    end: int
    kinds: Counter[Kind] = field(default_factory=Counter)
    offenders: list[tuple[int, Kind]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def fails(self, *, accept_deleted: bool) -> bool:
        bad = {kind for _, kind in self.offenders} - ({Kind.DELETED} if accept_deleted else set())
        return bool(self.problems or bad)


@dataclass
class Audit:
    """Of one partition: `run` reads the log, without a lease and without changing anything."""

    log: Log
    partition: int
    on_progress: Callable[[int], None] = lambda offsets: None

    def __post_init__(self) -> None:
        self._where = {"topic": self.log.topic, "partition": self.partition}
        self._records, self._todos = array("Q"), array("Q")  # offsets in order: all, and those of valid todos
        self._missing: list[int] = []

    def run(self, first: int | None = None, end: int | None = None) -> PartitionAudit:
        """From `first`, included, the log's own start by default, up to `end`, the log's own end by default.

        Raises LogUnavailable, OffsetOutOfRange, TooNewToJudge.
        """
        ledger = PartitionLedger.objects.filter(**self._where).values_list("next_offset", flat=True).first() or 0
        span = self.log.offset_ranges([self.partition])[self.partition]  # after the ledger, so never behind it
        self._losses = list(OffsetLoss.objects.filter(**self._where).values_list("first_offset", "next_offset"))
        first, end = span.first if first is None else first, span.end if end is None else min(end, span.end)
        self.result = PartitionAudit(self.partition, first, max(first, end))
        self._check_ledger(ledger, span)
        readable = max(first, span.first), min(end, ledger)
        self._count_unreadable(span, ledger)
        self._read(*readable)
        self._judge_missing(*readable)
        self.result.offenders.sort()
        return self.result

    def _check_ledger(self, ledger: int, span: OffsetRange) -> None:
        problems = self.result.problems
        if ledger > span.end:
            problems.append(f"the ledger is at {ledger}, ahead of the log, which ends at {span.end}")
        if ledger < span.first:
            problems.append(f"Kafka deleted offsets {ledger} to {span.first - 1} before they were stored")
        for broken in broken_chains(self.log.topic).filter(partition=self.partition):
            problems.append(f"the ledger is at {broken.next_offset}, but its batches end at {broken.chain_end}")
        with connection.cursor() as cursor:
            cursor.execute(GAPS, [self.log.topic, self.partition])
            for generation, offset in cursor.fetchall():
                problems.append(f"no batch of generation {generation} ends where one begins, at {offset}")

    def _count_unreadable(self, span: OffsetRange, ledger: int) -> None:
        first, end, kinds = self.result.first, self.result.end, self.result.kinds
        kinds[Kind.PENDING] = max(end - max(first, ledger, span.first), 0)
        gone = OffsetRange(first, max(first, min(span.first, end)))
        kinds[Kind.LOST] = sum(end - first for first, end in self._losses_in(gone))
        kinds[Kind.GONE] = gone.end - gone.first - kinds[Kind.LOST]

    def _read(self, first: int, end: int) -> None:
        if first >= end:
            return
        for records in self._chunks(first, end):
            self._sort(records)
        self.result.kinds[Kind.ABSENT] = end - first - len(self._records)

    def _chunks(self, first: int, end: int) -> Iterator[Sequence[Record]]:
        """Raises LogUnavailable, OffsetOutOfRange."""
        self.log.assign({self.partition: first})
        position, last_news = first, time.monotonic()
        while position < end:
            try:
                read = self.log.poll(timeout_ms=1000, max_records=CHUNK_RECORDS).get(self.partition, [])
                reached = self.log.positions()[self.partition]
            except LogUnavailable:  # away for a moment, or a bad checksum, which is read several times
                if time.monotonic() > last_news + SILENCE_SECONDS:
                    raise
                time.sleep(RETRY_SECONDS)
                self.log.assign({self.partition: position})
                continue
            if records := [record for record in read if record.offset < end]:
                yield records
            self.on_progress(min(reached, end) - position)
            if reached > position:
                position, last_news = reached, time.monotonic()
            elif time.monotonic() > last_news + SILENCE_SECONDS:
                raise LogUnavailable(f"no answer for {SILENCE_SECONDS:g} s at offset {position} of {self.partition}")

    def _sort(self, records: Sequence[Record]) -> None:
        batch = parse_records(self.log.topic, records)
        if batch.unsupported:
            raise TooNewToJudge(self.partition, batch.unsupported[self.partition])
        todos = Todo.objects.filter(id__in=[todo.id for todo in batch.todos])
        places = {id_: place for id_, *place in todos.values_list("id", "source_partition", "source_offset")}
        letters = dict(
            DeadLetter.objects.filter(
                **self._where, offset__gte=records[0].offset, offset__lte=records[-1].offset
            ).values_list("offset", "status")
        )
        self._records.extend(record.offset for record in records)
        for todo in batch.todos:
            offset, place = todo.source_offset, places.get(todo.id)
            is_home = place == [todo.source_partition, offset]
            # Once discarded, it does not compete with what a rewind stored from the same record.
            if offset in letters and not (is_home and letters[offset] == DeadLetter.Status.DISCARDED):
                self._found(offset, Kind.TWICE if is_home else Kind.DEAD_LETTER)
                continue
            self._todos.append(offset)
            if place is not None:
                self._found(offset, Kind.STORED if is_home else Kind.DUPLICATE)
            elif self._is_lost(offset):
                self._found(offset, Kind.LOST)
            else:
                self._missing.append(offset)
        for letter in batch.dead_letters:
            is_lost = self._is_lost(letter.offset)
            kind = Kind.DEAD_LETTER if letter.offset in letters else Kind.LOST if is_lost else Kind.MISSING
            self._found(letter.offset, kind)

    def _judge_missing(self, first: int, end: int) -> None:
        """Compare each whole batch with the log: it proves the deleted, and shows what the ingest passed over."""
        batches = Batch.objects.filter(**self._where, first_offset__gte=first, next_offset__lte=end, lost=0)
        deleted: set[int] = set()
        for batch in batches.order_by().iterator():
            span = OffsetRange(batch.first_offset or 0, batch.next_offset)  # no anchor is among them
            records, todos = _within(self._records, span), _within(self._todos, span)
            if records > batch.stored + batch.duplicates + batch.dead_letters:
                self.result.problems.append(f"offsets {batch}: Kafka has {records:,} records, more than were counted")
            elif todos == batch.stored + batch.duplicates:
                deleted.update(
                    self._missing[bisect_left(self._missing, span.first) : bisect_left(self._missing, span.end)]
                )
        for offset in self._missing:
            self._found(offset, Kind.DELETED if offset in deleted else Kind.MISSING)

    def _found(self, offset: int, kind: Kind) -> None:
        self.result.kinds[kind] += 1
        if kind in {Kind.DELETED, Kind.MISSING, Kind.TWICE}:
            self.result.offenders.append((offset, kind))

    def _losses_in(self, span: OffsetRange) -> Iterator[OffsetRange]:
        """Without overlap, though a range may have been lost twice: read again, and given up again."""
        reached = span.first
        for first, end in sorted(self._losses):
            if max(first, reached) < min(end, span.end):
                yield OffsetRange(max(first, reached), min(end, span.end))
                reached = min(end, span.end)

    def _is_lost(self, offset: int) -> bool:
        return any(first <= offset < end for first, end in self._losses)


def _within(offsets: "array[int]", span: OffsetRange) -> int:
    return bisect_left(offsets, span.end) - bisect_left(offsets, span.first)
