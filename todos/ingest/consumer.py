"""One poll: read what the log has for the partitions it holds, and store it, until its time is up.

Nothing here knows Kafka or Celery. A failure never moves the ledger: the poll forgets what it holds, waits a
moment and reads again from where the ledger stands.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from django.db import Error as DatabaseFailure
from django.db import connection
from django.utils import timezone

from todos.event_log import Log, LogUnavailable, OffsetOutOfRange, PartitionUnreadable
from todos.ingest.dead_letter_limit import TooManyDeadLetters
from todos.ingest.errors import STATEMENT_CANCELLED, ErrorKind, SystemicFailure, classify_error, sqlstate
from todos.ingest.options import PollOptions
from todos.ingest.parsing import ParsedBatch, UnsupportedVersion
from todos.ingest.prefetch import FetchedBatch, Prefetcher
from todos.ingest.store import LeaseLost, record_loss, store
from todos.ingest.tracing import trace_batch
from todos.ledger.batch_history import ChainBroken, WriterInfo, broken_chains
from todos.ledger.leases import Leases, ensure_ledger, recreated_partitions, set_halt_reason
from todos.ledger.poll_runs import PollSummary, record_run

logger = logging.getLogger(__name__)

# A new or freed partition is noticed within this time, also in the middle of a long poll; sooner by a poll that has
# less than its share: nobody reads what it waits for.
REFRESH_SECONDS, SHORT_REFRESH_SECONDS = 0.25, 0.05
DISCOVERY_SECONDS = 10.0
PUBLISH_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 2.0
SEE_REWIND = "Not reading this partition; see manage.py rewind"


@dataclass
class ConsumerRun:
    """The state of one poll. Give it a log, and call `run`."""

    log: Log
    options: PollOptions
    worker: str
    task_id: str = ""
    should_stop: Callable[[], bool] = lambda: False
    on_batch: Callable[[PollSummary], None] = lambda summary: None
    summary: PollSummary = field(default_factory=PollSummary)

    def __post_init__(self) -> None:
        self.leases = Leases(self.log.topic, self.worker)
        self.origin = WriterInfo(self.worker, self.task_id)
        self.partitions: list[int] = []
        self._left: set[int] = set()
        self._is_too_old = self._has_given_up = False
        self._being_stored: list[int] = []
        self._unpublished: dict[int, int] = {}
        self._next_discovery = self._next_refresh = self._next_publish = 0.0
        self._consecutive_failures = 0

    def run(self) -> PollSummary:
        started_at, started = timezone.now(), time.monotonic()
        deadline = started + self.options.time_budget_seconds
        idle_until = started + self.options.timeout_ms / 1000
        with Prefetcher(self.log, self.options.max_records) as self._reader, self.leases:
            while not self._is_over() and (now := time.monotonic()) < min(deadline, idle_until):
                if self._step(min(deadline, idle_until) - now):
                    idle_until = time.monotonic() + self.options.timeout_ms / 1000
            self._publish(at_once=True)
        while self._has_given_up and not self.should_stop() and time.monotonic() < min(deadline, idle_until):
            time.sleep(REFRESH_SECONDS)  # whoever is free takes the next tick, and shall not be this one again
        self.summary.seconds = time.monotonic() - started
        record_run(self.log.topic, self.origin, started_at, self.summary)
        return self.summary

    def _is_over(self) -> bool:
        return self._has_given_up or self.should_stop()

    def _step(self, seconds_left: float) -> bool:
        """One read and one transaction, or one failure. True when records came."""
        try:
            self._share_partitions()
            stored = self._read_and_store(min(seconds_left, max(self._next_refresh - time.monotonic(), 0)))
        except LeaseLost as exc:
            logger.info("%s: %s", self.worker, exc)
            self._start_over()
            return False
        except (LogUnavailable, SystemicFailure, ChainBroken, DatabaseFailure) as exc:
            self._back_off(exc, seconds_left)
            return False
        self._consecutive_failures = 0
        return stored

    def _share_partitions(self) -> None:
        now = time.monotonic()
        if now >= self._next_discovery:
            self.partitions = self.log.partitions()
            ensure_ledger(self.log.topic, self.partitions)
            self._leave_what_was_made_anew()
            self._next_discovery = now + DISCOVERY_SECONDS
        if now >= self._next_refresh:
            if self.leases.refresh(set(self.partitions) - self._left):
                positions = {partition: lease.next_offset for partition, lease in self.leases.held.items()}
                self._reader.assign(positions)
                self._unpublished = positions  # what was given away is its new holder's to publish
            seconds = SHORT_REFRESH_SECONDS if self.leases.has_too_few else REFRESH_SECONDS
            self._next_refresh = time.monotonic() + seconds

    def _leave_what_was_made_anew(self) -> None:
        """The new topic may be longer than the ledger by now: nothing would be out of range."""
        readable = set(self.partitions) - self._left
        for partition in recreated_partitions(self.log.topic, self.log.identity(), readable):
            text = "was made anew, and its ledger counts the offsets of the topic before it"
            self._leave(partition, f"{text}. {SEE_REWIND}")
            self._start_over()

    def _read_and_store(self, wait_seconds: float) -> bool:
        if not self.leases.held:
            self._has_given_up = self._is_too_old  # newer workers share everything without this one
            time.sleep(wait_seconds)  # others hold everything: stand by
            return False
        try:
            batch = self._reader.read(wait_seconds)
            if batch.ranges:
                self._store(batch)
            for partition, record in batch.records.unsupported.items():
                self._leave_too_new(partition, record)
        except OffsetOutOfRange:
            self._record_losses()
            return False
        except PartitionUnreadable as exc:
            self._leave_unreadable(exc)
            return False
        except ChainBroken as exc:
            self._leave_broken_chains(exc)
            return False
        if not self._left.isdisjoint(batch.ranges.keys() | batch.records.unsupported):
            self._start_over()
        self._publish()
        return len(batch.records) > 0

    def _store(self, batch: FetchedBatch, *, strict: bool = False) -> None:
        """At once; where that fails for what is in the batch, in parts, each of which stands or falls alone."""
        try:
            self._store_at_once(batch, strict=strict)
        except TooManyDeadLetters as exc:
            if strict:
                self._fail(exc)
                self._leave(next(iter(batch.ranges)), str(exc))
            else:
                for part in batch.by_partition():
                    self._store(part, strict=True)
        except DatabaseFailure as exc:
            parts = batch.smaller()
            if sqlstate(exc) != STATEMENT_CANCELLED or len(parts) < 2:
                raise
            logger.warning("%s: storing %d records took too long, storing fewer", self.worker, len(batch.records))
            for part in parts:
                self._store(part, strict=strict)

    def _store_at_once(self, batch: FetchedBatch, *, strict: bool) -> None:
        self.leases.heartbeat()
        self._being_stored, started_ns = list(batch.ranges), time.time_ns()
        for partition, (first, _) in batch.ranges.items():
            if partition not in self.leases.held or self.leases.held[partition].next_offset != first:
                raise LeaseLost(f"partition {partition} was read from {first}, where its lease does not stand")
        next_offsets = {partition: end for partition, (_, end) in batch.ranges.items()}
        result = store(
            self.log.topic,
            self.leases.held,
            batch.records,
            next_offsets,
            dead_letter_percent=self.options.dead_letter_percent,
            strict=strict,
            origin=self.origin,
        )
        trace_batch(self.log.topic, batch.records, result, self.origin, started_ns)
        if logger.isEnabledFor(logging.DEBUG):
            _log_batch(batch.records, next_offsets, self.origin)
        for partition, next_offset in next_offsets.items():
            self.leases.held[partition].next_offset = next_offset
        self._unpublished |= next_offsets
        self._count(result.todos, result.duplicates, result.dead_letters)

    def _count(self, stored: int, duplicates: int, dead_letters: int) -> None:
        self.summary.stored += stored
        self.summary.duplicates += duplicates
        self.summary.dead_letters += dead_letters
        self.summary.batches += 1
        self.on_batch(self.summary)

    def _record_losses(self) -> None:
        """A position outside the log: behind it, Kafka deleted records; ahead of it, the topic was made anew."""
        for partition, span in self.log.offset_ranges(self.leases.held).items():
            next_offset = self.leases.held[partition].next_offset
            if next_offset < span.first:
                loss = record_loss(self.log.topic, self.leases.held, partition, span.first, origin=self.origin)
                self.summary.lost += span.first - next_offset
                logger.error("Kafka deleted records before they were stored: %s", loss)
            elif next_offset > span.end:
                self._leave(
                    partition,
                    f"ends at {span.end}, but the ledger is at {next_offset}:"
                    f" Kafka lost data, or the topic was made anew. {SEE_REWIND}",
                )
        self._start_over()

    def _leave_broken_chains(self, exc: ChainBroken) -> None:
        """Someone moved a ledger by hand. The partition waits for an operator; the others go on."""
        broken = [ledger for ledger in broken_chains(self.log.topic) if ledger.partition in self.leases.held]
        if not broken:
            raise exc
        logger.error("%s", exc)
        for ledger in broken:
            text = f"is at {ledger.next_offset}, but its batches end at {ledger.chain_end}"
            self._leave(ledger.partition, f"{text}. {SEE_REWIND}")
        self._start_over()

    def _leave_unreadable(self, exc: PartitionUnreadable) -> None:
        """Its bytes rotted on the broker's disk, so that not even Kafka finds the end of the batch."""
        self._fail(exc)
        advice = f"manage.py rewind --partition {exc.partition} --offset {exc.offset + 1} --skip passes over it"
        self._leave(exc.partition, f"{exc}. If Kafka has no replica to mend it from, {advice}, or over more offsets")
        self._start_over()

    def _leave_too_new(self, partition: int, record: UnsupportedVersion) -> None:
        """While old and new workers run side by side, a new one takes the partition over at once."""
        advice = f"manage.py rewind --partition {partition} --offset {record.offset + 1} --skip would give it up"
        self._leave(partition, f"waits for a newer worker: {record}. {advice}")
        self.leases.give_back([partition])
        self._is_too_old = True

    def _leave(self, partition: int, text: str) -> None:
        """This poll goes on without the partition; the next one tries again."""
        logger.error("%s/%d %s", self.log.topic, partition, text)
        set_halt_reason(self.log.topic, [partition], text)
        self._left.add(partition)

    def _start_over(self) -> None:
        self.leases.forget()
        self._next_refresh = 0.0

    def _fail(self, exc: Exception) -> None:
        self.summary.failures += 1
        self.summary.last_error = f"{type(exc).__name__}: {str(exc).strip()}"

    def _back_off(self, exc: Exception, seconds_left: float) -> None:
        self._consecutive_failures += 1
        self._fail(exc)
        if self._consecutive_failures == 1:
            alarm = not isinstance(exc, LogUnavailable) and classify_error(exc) is not ErrorKind.TRANSIENT
            level = logging.ERROR if alarm else logging.WARNING
            logger.log(level, "%s: holding the offsets, will try again: %s", self.worker, self.summary.last_error)
            if alarm:
                with suppress(DatabaseFailure):
                    set_halt_reason(self.log.topic, self._being_stored, self.summary.last_error)
        connection.close()
        self._start_over()
        time.sleep(min(0.1 * 2**self._consecutive_failures, MAX_BACKOFF_SECONDS, max(seconds_left, 0)))

    def _publish(self, *, at_once: bool = False) -> None:
        """After the transaction, and only so that Kafka's tools show the lag: a failure costs nothing."""
        if not self._unpublished or (time.monotonic() < self._next_publish and not at_once):
            return
        try:
            self.log.publish(self._unpublished)
            self._unpublished = {}
        except LogUnavailable as exc:  # the next poll publishes all it holds
            logger.info("%s: offsets are stored but not published: %s", self.worker, exc)
        self._next_publish = time.monotonic() + PUBLISH_SECONDS


def _log_batch(records: ParsedBatch, next_offsets: dict[int, int], origin: WriterInfo) -> None:
    """Which requests' todos are in it: their ids are in the rows too, and the batch's range and task in the history."""
    ids = [todo.request_id for todo in records.todos if todo.request_id]
    fields = {"request_ids": ids, "next_offsets": next_offsets, **origin._asdict()}
    logger.debug("stored %d records up to %s", len(records), next_offsets, extra=fields)
