"""Read a range of the topic again, and prove the outcome of each offset.

The audit proves that each record Kafka still has is one of: a todo from that very position, a duplicate of a todo from
another position, a dead letter of that position, part of a recorded loss, or a record of an erased owner, of whom
neither a row nor the bytes of a dead letter is left. A deleted todo leaves no row: it counts as deleted only where a
batch of the history, all of whose records Kafka still has, stored as many todos as Kafka holds there. Where Kafka's log
is not the one that was stored, the batches of the log before prove nothing about the records that Kafka has now, so
none counts as deleted. The audit cannot tell whether a user or an accident deleted a todo. It does not compare titles
and descriptions, and ignores rows that no record of the range accounts for.
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
from todos.ingest.parsing import ParsedBatch, parse_records
from todos.ingest.store import leave_out_erased
from todos.ledger.batch_history import broken_chains
from todos.ledger.divergence import agreed_offset, last_record_of
from todos.models import Batch, DeadLetter, LogDivergence, OffsetLoss, PartitionLedger, Todo
from todos.owners import erased_among

CHUNK_RECORDS = 5_000
SILENCE_SECONDS, RETRY_SECONDS = 15.0, 0.2

GAPS = """
    SELECT generation, first_offset FROM (
        SELECT generation, first_offset,
               lag(next_offset) OVER (PARTITION BY generation ORDER BY next_offset) AS end_before
        FROM todos_batch WHERE topic = %s AND partition = %s) chain
    WHERE first_offset IS DISTINCT FROM end_before ORDER BY 1, 2
"""


class StoredByNewerRelease(Exception):
    """A newer release stored the record; this one cannot parse it."""

    def __init__(self, record: DeadLetter) -> None:
        super().__init__(f"partition {record.partition}: {record.detail}")


class OffsetKind(StrEnum):
    """The outcome of an offset; each offset has exactly one."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    DEAD_LETTER = "dead letter"
    ERASED = "of an erased owner"
    LOST = "recorded loss"
    DELETED = "stored once, deleted since"
    MISSING = "neither row nor dead letter"
    TWICE = "both row and dead letter"
    UNERASED = "not erased with its owner"
    PENDING = "not stored yet"
    ABSENT = "no record in the log"
    GONE = "deleted by Kafka, cannot be read again"


OFFENDING = {OffsetKind.DELETED, OffsetKind.MISSING, OffsetKind.TWICE, OffsetKind.UNERASED}


@dataclass(frozen=True)
class PartitionAudit:
    """The outcome of each offset of one partition, from `first` up to, not including, `end`."""

    partition: int
    first: int
    end: int
    kinds: Counter[OffsetKind]
    offenders: list[tuple[int, OffsetKind]]  # in the order of their offsets
    problems: list[str]  # of the ledger and the history as a whole

    def is_proved(self, *, accept_deleted: bool) -> bool:
        """Tell whether nothing is left to explain. `accept_deleted` allows todos that were deleted after storing."""
        accepted = {OffsetKind.DELETED} if accept_deleted else set()
        return not self.problems and {kind for _, kind in self.offenders} <= accepted


def audit_partition(
    log: Log,
    partition: int,
    first: int | None = None,
    end: int | None = None,
    on_progress: Callable[[int], None] = lambda offsets: None,
) -> PartitionAudit:
    """Audit the offsets from `first` up to, not including, `end`; by default all that the log holds.

    Takes no lease and changes nothing, so polls may run meanwhile. `on_progress` gets the number of offsets that each
    chunk covers. Raises LogUnavailable, OffsetOutOfRange, or StoredByNewerRelease.
    """
    where = {"topic": log.topic, "partition": partition}
    ledger = PartitionLedger.objects.filter(**where).values_list("next_offset", flat=True).first() or 0
    held = log.offset_ranges([partition])[partition]  # after the ledger, so that it is never behind it
    losses = list(OffsetLoss.objects.filter(**where).values_list("first_offset", "next_offset"))
    first = held.first if first is None else first
    end = max(first, held.end if end is None else min(end, held.end))
    readable = OffsetRange(max(first, held.first), min(end, ledger))
    problems = _ledger_problems(log.topic, partition, ledger, held)
    divergences = list(LogDivergence.objects.filter(**where))
    problems += _log_problems(log, partition, held, divergences)
    offsets = _Classifier(log.topic, partition, [OffsetRange(*loss) for loss in losses])
    offsets.count_unreadable(OffsetRange(first, max(first, min(held.first, end))))
    offsets.kinds[OffsetKind.PENDING] = max(end - max(first, ledger, held.first), 0)
    for records in _read(log, partition, readable, on_progress):
        offsets.classify(records)
    offsets.kinds[OffsetKind.ABSENT] = max(readable.end - readable.first, 0) - len(offsets.records)
    problems += offsets.compare_with_batches(readable, divergences)
    return PartitionAudit(partition, first, end, offsets.kinds, sorted(offsets.offenders), problems)


def _ledger_problems(topic: str, partition: int, ledger: int, held: OffsetRange) -> list[str]:
    problems = []
    if ledger > held.end:
        problems.append(f"the ledger is at {ledger}, ahead of the log, which ends at {held.end}")
    if ledger < held.first:
        problems.append(f"Kafka deleted offsets {ledger} to {held.first - 1} before they were stored")
    problems += [
        f"the ledger is at {broken.next_offset}, but its batches end at {broken.chain_end}"
        for broken in broken_chains(topic).filter(partition=partition)
    ]
    with connection.cursor() as cursor:
        cursor.execute(GAPS, [topic, partition])
        problems += [
            f"no batch of generation {generation} ends where one begins, at {offset}"
            for generation, offset in cursor.fetchall()
        ]
    return problems


def _log_problems(log: Log, partition: int, held: OffsetRange, divergences: list[LogDivergence]) -> list[str]:
    """Verify that the log is the one that was stored, also if no poll has seen it yet; then add to `divergences`."""
    unresolved = [divergence for divergence in divergences if divergence.resolved_at is None]
    ledger = PartitionLedger.objects.filter(topic=log.topic, partition=partition).first()
    known = last_record_of(ledger) if ledger else None
    if ledger and known and not unresolved and known.offset in range(*held):
        found = log.first_records({partition: known.offset}).get(partition)
        if found and known.is_contradicted_by(found):
            seen = LogDivergence(
                generation=ledger.generation,
                first_offset=agreed_offset(log, partition, held),
                next_offset=ledger.next_offset,
            )
            unresolved.append(seen)
            divergences.append(seen)
    return [
        f"the log is not the one that was stored from offset {divergence.first_offset} on; see manage.py rewind"
        for divergence in unresolved
    ]


def _read(
    log: Log, partition: int, readable: OffsetRange, on_progress: Callable[[int], None]
) -> Iterator[Sequence[Record]]:
    """Yield the records of `readable` in chunks. Raises LogUnavailable, OffsetOutOfRange."""
    if readable.first >= readable.end:
        return
    log.assign({partition: readable.first})
    position, last_progress = readable.first, time.monotonic()
    while position < readable.end:
        try:
            polled = log.poll(timeout_ms=1000, max_records=CHUNK_RECORDS).get(partition, [])
            reached = log.positions()[partition]
        except LogUnavailable:  # for a moment, or because of a bad checksum, which the log reads several times
            if time.monotonic() > last_progress + SILENCE_SECONDS:
                raise
            time.sleep(RETRY_SECONDS)
            log.assign({partition: position})
            continue
        if records := [record for record in polled if record.offset < readable.end]:
            yield records
        on_progress(min(reached, readable.end) - position)
        if reached > position:
            position, last_progress = reached, time.monotonic()
        elif time.monotonic() > last_progress + SILENCE_SECONDS:
            raise LogUnavailable(f"no answer for {SILENCE_SECONDS:g} s at offset {position} of {partition}")


@dataclass
class _Classifier:
    """Decides the kind of each offset of one partition, and counts the kinds."""

    topic: str
    partition: int
    losses: list[OffsetRange]
    kinds: Counter[OffsetKind] = field(default_factory=Counter)
    offenders: list[tuple[int, OffsetKind]] = field(default_factory=list)
    records: "array[int]" = field(default_factory=lambda: array("Q"))  # the offsets of all records, in order
    # The offsets of those that a batch counts as todos or as erased; and of those with an erased dead letter, which a
    # batch from before the erasure counts as dead letters.
    todos: "array[int]" = field(default_factory=lambda: array("Q"))
    erased_letters: "array[int]" = field(default_factory=lambda: array("Q"))
    without_row: list[int] = field(default_factory=list)  # the offsets of todos that are neither row nor loss

    def count_unreadable(self, deleted: OffsetRange) -> None:
        """Count the offsets of `deleted`, which Kafka has deleted."""
        lost = sum(loss.end - loss.first for loss in self._losses_within(deleted))
        self.kinds[OffsetKind.LOST] += lost
        self.kinds[OffsetKind.GONE] += deleted.end - deleted.first - lost

    def classify(self, records: Sequence[Record]) -> None:
        """Compare records, in the order of their offsets, with the rows. Raises StoredByNewerRelease."""
        parsed = parse_records(self.topic, records, set_aside=True)
        kept, _ = leave_out_erased(parsed)
        of_erased = {*_offsets(parsed)} - {*_offsets(kept)}
        rows = Todo.objects.filter(id__in=[todo.id for todo in parsed.todos])
        positions = {id_: position for id_, *position in rows.values_list("id", "source_partition", "source_offset")}
        survivors = {*rows.filter(owner__in=erased_among(rows.values_list("owner", flat=True))).values_list("id")}
        letters = self._letters_between(records[0].offset, records[-1].offset)
        self.records.extend(record.offset for record in records)
        for todo in parsed.todos:
            offset, position = todo.source_offset, positions.get(todo.id)
            if offset in of_erased:
                self._classify_erased(offset, letters.get(offset), has_row=(todo.id,) in survivors)
                continue
            is_from_here = position == [todo.source_partition, offset]
            # A discarded dead letter does not compete with a row that a rewind stored from the same record.
            if offset in letters and not (is_from_here and letters[offset] == DeadLetter.Status.DISCARDED):
                self._count(offset, OffsetKind.TWICE if is_from_here else OffsetKind.DEAD_LETTER)
                continue
            self.todos.append(offset)
            if position is not None:
                self._count(offset, OffsetKind.STORED if is_from_here else OffsetKind.DUPLICATE)
            elif self._is_lost(offset):
                self._count(offset, OffsetKind.LOST)
            else:
                self.without_row.append(offset)
        for letter in parsed.dead_letters:
            if letter.offset in of_erased:
                self._classify_erased(letter.offset, letters.get(letter.offset), has_row=False)
                continue
            self._count(letter.offset, OffsetKind.DEAD_LETTER if letter.offset in letters else self._kind_of(letter))

    def _classify_erased(self, offset: int, letter: str | None, *, has_row: bool) -> None:
        (self.todos if letter is None else self.erased_letters).append(offset)
        is_erased = not has_row and letter in {None, DeadLetter.Status.ERASED}
        self._count(offset, OffsetKind.ERASED if is_erased else OffsetKind.UNERASED)

    def _kind_of(self, unstored: DeadLetter) -> OffsetKind:
        """Return the kind of a record that is no todo and has no dead letter. Raises StoredByNewerRelease."""
        if unstored.reason == DeadLetter.Reason.SET_ASIDE:
            raise StoredByNewerRelease(unstored)
        return OffsetKind.LOST if self._is_lost(unstored.offset) else OffsetKind.MISSING

    def compare_with_batches(self, readable: OffsetRange, divergences: Sequence[LogDivergence]) -> list[str]:
        """Classify the todos without a row, after all of `readable` was read, and return what contradicts the history.

        A batch that counted as many todos as Kafka still holds proves that its missing todos were stored, and deleted.
        """
        problems = []
        deleted: set[int] = set()
        batches = Batch.objects.filter(
            topic=self.topic,
            partition=self.partition,
            first_offset__gte=readable.first,
            next_offset__lte=readable.end,
            lost=0,
        )
        for divergence in divergences:
            batches = batches.exclude(generation__lte=divergence.generation, next_offset__gt=divergence.first_offset)
        for batch in batches.order_by().iterator():
            covered = OffsetRange(
                batch.first_offset or 0, batch.next_offset
            )  # anchors, without first_offset, are left out
            records = len(_between(self.records, covered))
            counted = batch.stored + batch.duplicates + batch.erased
            todos, erased_letters = (len(_between(kind, covered)) for kind in (self.todos, self.erased_letters))
            if records > counted + batch.dead_letters:
                problems.append(f"offsets {batch}: Kafka has {records:,} records, more than were counted")
            elif todos <= counted <= todos + erased_letters:
                deleted.update(_between(self.without_row, covered))
        for offset in self.without_row:
            self._count(offset, OffsetKind.DELETED if offset in deleted else OffsetKind.MISSING)
        return problems

    def _letters_between(self, first: int, last: int) -> dict[int, str]:
        letters = DeadLetter.objects.filter(
            topic=self.topic, partition=self.partition, offset__gte=first, offset__lte=last
        )
        return dict(letters.values_list("offset", "status"))

    def _count(self, offset: int, kind: OffsetKind) -> None:
        self.kinds[kind] += 1
        if kind in OFFENDING:
            self.offenders.append((offset, kind))

    def _losses_within(self, deleted: OffsetRange) -> Iterator[OffsetRange]:
        """Yield the losses without overlap; a range may be lost twice when it was read again in between."""
        reached = deleted.first
        for first, end in sorted(self.losses):
            if max(first, reached) < min(end, deleted.end):
                yield OffsetRange(max(first, reached), min(end, deleted.end))
                reached = min(end, deleted.end)

    def _is_lost(self, offset: int) -> bool:
        return any(first <= offset < end for first, end in self.losses)


def _offsets(batch: ParsedBatch) -> Iterator[int]:
    yield from (todo.source_offset for todo in batch.todos)
    yield from (letter.offset for letter in batch.dead_letters)


def _between(offsets: Sequence[int], covered: OffsetRange) -> Sequence[int]:
    return offsets[bisect_left(offsets, covered.first) : bisect_left(offsets, covered.end)]
