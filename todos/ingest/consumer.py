"""Consume a topic: read records, parse them and store them, until the run's time is up.

Nothing here knows Kafka or Celery. A failure never advances the ledger: the run waits, and reads again from where the
ledger is.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from django.db import Error as DatabaseFailure
from django.db import connection

from edge_api.shared.outages import Outage
from todos.event_log import Log, LogDiverged, LogUnavailable, OffsetOutOfRange, PartitionUnreadable
from todos.ingest.assignment import REFRESH_SECONDS, Assignment
from todos.ingest.dead_letter_limit import DeadLetterLimit, TooManyDeadLetters
from todos.ingest.errors import (
    LOCK_NOT_AVAILABLE,
    STATEMENT_CANCELLED,
    ErrorKind,
    SystemicFailure,
    classify_error,
    sqlstate,
)
from todos.ingest.options import PollOptions
from todos.ingest.parsing import ParsedBatch, UnsupportedVersion
from todos.ingest.prefetch import FetchedBatch, Prefetcher
from todos.ingest.store import LeaseLost, record_loss, store
from todos.ingest.tracing import trace_batch
from todos.ledger.batch_history import ChainBroken, WriterInfo
from todos.ledger.halts import halt_partition
from todos.ledger.leases import Leases
from todos.ledger.poll_runs import PollSummary, describe_error, record_run
from todos.models import HaltReason

logger = logging.getLogger(__name__)

MAX_BACKOFF_SECONDS = 2.0
# Of this process, since an outage lasts longer than a run.
READING = Outage(logger, "cannot read, will retry", "reading again")
STORING = Outage(logger, "holding the offsets, will retry", "storing again")


class ConsumerRun:
    """One run of the consumer. It lasts until its time budget is spent, or no record came for the long-poll time."""

    def __init__(
        self,
        log: Log,
        options: PollOptions,
        worker: str,
        task_id: str = "",
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_batch: Callable[[PollSummary], None] = lambda summary: None,
    ) -> None:
        """Prepare a run; `worker` and `task_id` name it to operators.

        `should_stop` is asked before each read, and ends the run early. `on_batch` is called after each stored batch.
        """
        self.log = log
        self.options = options
        self.should_stop, self.on_batch = should_stop, on_batch
        self.summary = PollSummary()
        self.leases = Leases(log.topic, worker)
        self._writer = WriterInfo(worker, task_id)
        self._prefetcher = Prefetcher(log, options.max_records)
        self._assignment = Assignment(log, self.leases, self._prefetcher)
        self._consecutive_failures = 0
        self._has_given_up = self._has_refreshed = self._is_storing = False

    def run(self) -> PollSummary:
        """Read and store until the run is over. Failures are logged and counted; only unexpected ones are raised."""
        started = time.monotonic()
        deadline, idle_seconds = started + self.options.time_budget_seconds, self.options.timeout_ms / 1000
        end = min(deadline, started + idle_seconds)
        try:
            with self._prefetcher, self.leases:
                self._register()
                while not self._is_over() and (seconds_left := end - time.monotonic()) > 0:
                    if self._step(seconds_left):
                        end = min(deadline, time.monotonic() + idle_seconds)
                self._assignment.finish_publishing()
            while self._has_given_up and not self.should_stop() and time.monotonic() < end:
                time.sleep(REFRESH_SECONDS)  # keeps this worker busy, so that a newer one takes the next tick
        except BaseException as exc:  # a fault of ours, or the task's time limit: operators see why the poll ended
            self.summary.add_failure(exc)
            raise
        finally:
            self.summary.seconds = time.monotonic() - started
            record_run(self.log.topic, self._writer, self.summary)
        return self.summary

    def _register(self) -> None:
        """Become visible as a poller before the first should_stop: an operator who pauses must wait for this run."""
        try:
            self.leases.heartbeat()
        except DatabaseFailure:  # the first step tries again and reports it
            connection.close()

    def _is_over(self) -> bool:
        return self._has_given_up or self.should_stop()

    def _step(self, seconds_left: float) -> bool:
        """Read and store one batch, or handle one failure. Returns True if records came."""
        self._is_storing = False
        try:
            self._assignment.refresh()
            if not self._has_refreshed:  # the first refresh of a run queries both Kafka and PostgreSQL
                self._has_refreshed = True
                READING.end()
            received = self._read_and_store(min(seconds_left, self._assignment.seconds_until_refresh))
        except LeaseLost as exc:
            logger.info("%s: %s", self._writer.worker, exc)
            self._assignment.invalidate()
            return False
        except (LogUnavailable, SystemicFailure, ChainBroken, DatabaseFailure) as exc:
            self._back_off(exc, seconds_left)
            return False
        self._consecutive_failures = 0
        return received

    def _read_and_store(self, wait_seconds: float) -> bool:
        if not self.leases.held:
            self._has_given_up = self._assignment.needs_newer_worker  # the newer workers share all partitions
            time.sleep(wait_seconds)
            return False
        try:
            batch = self._prefetcher.read(wait_seconds)
            self._assignment.note_read(is_empty=not batch.ranges)
            if batch.ranges:
                self._store(batch, DeadLetterLimit(self.options.dead_letter_percent))
            for partition, record in batch.records.unsupported.items():
                self._halt_unsupported(partition, record)
        except OffsetOutOfRange:
            self._record_losses()
            return False
        except LogDiverged as exc:
            self._assignment.halt_diverged(exc.partition, str(exc))
            return False
        except PartitionUnreadable as exc:
            self._halt_unreadable(exc)
            return False
        except ChainBroken as exc:
            self._halt_broken_chains(exc)
            return False
        self._assignment.publish()
        return len(batch.records) > 0

    # --- Storing

    def _store(self, batch: FetchedBatch, limit: DeadLetterLimit) -> None:
        """Store a batch in one transaction or, if its content is the obstacle, in several smaller ones."""
        try:
            self._store_whole(batch, limit)
        except TooManyDeadLetters as exc:
            if limit.strict:
                self.summary.add_failure(exc)
                self._assignment.halt(next(iter(batch.ranges)), HaltReason.TOO_MANY_DEAD_LETTERS, str(exc))
                return
            for part in batch.split_by_partition():
                self._store(part, DeadLetterLimit(limit.percent, strict=True))
        except (DatabaseFailure, SystemicFailure) as exc:
            self._store_in_parts(batch, limit, exc)
        else:
            self.on_batch(self.summary)

    def _store_in_parts(self, batch: FetchedBatch, limit: DeadLetterLimit, exc: Exception) -> None:
        """Store smaller batches where `exc` shows that this helps. Raises `exc` otherwise."""
        state = sqlstate(exc)
        if state == LOCK_NOT_AVAILABLE and len(batch.ranges) > 1:
            self._store_apart(batch.split_by_partition(), limit)
        elif state == STATEMENT_CANCELLED and len(parts := batch.split()) > 1:
            logger.warning("%s: storing %d records took too long, splitting", self._writer.worker, len(batch.records))
            for part in parts:
                self._store(part, limit)
        else:
            self._show_refusal(batch, exc)
            raise exc

    def _store_apart(self, parts: list[FetchedBatch], limit: DeadLetterLimit) -> None:
        """Store each partition alone and leave out the one that waits for another session's lock on one of its rows.

        Raises the DatabaseError of a second one: then it is not a row that is locked.
        """
        has_left_out = False
        for part in parts:
            try:
                self._store(part, limit)
            except DatabaseFailure as exc:
                if sqlstate(exc) != LOCK_NOT_AVAILABLE or has_left_out:
                    raise
                has_left_out = True
                self.summary.add_failure(exc)
                (partition,) = part.ranges
                logger.warning("%s/%d waits for a lock: %s", self.log.topic, partition, self.summary.last_error)
                self._assignment.leave_out(partition)

    def _store_whole(self, batch: FetchedBatch, limit: DeadLetterLimit) -> None:
        self._is_storing = True
        self.leases.heartbeat()
        held, records, started_ns = self.leases.held, batch.records, time.time_ns()
        for partition, (first, _) in batch.ranges.items():
            if partition not in held or held[partition].next_offset != first:
                raise LeaseLost(f"partition {partition} was read from {first}, where its lease no longer is")
        next_offsets = {partition: end for partition, (_, end) in batch.ranges.items()}
        result = store(self.log.topic, held, records, next_offsets, limit=limit, writer=self._writer)
        trace_batch(self.log.topic, records, result, self._writer, started_ns)
        if logger.isEnabledFor(logging.DEBUG):
            _log_batch(records, next_offsets, self._writer)
        self._assignment.advance(next_offsets, records.last_records)
        STORING.end()
        self.summary.add_batch(
            stored=result.todos,
            duplicates=result.duplicates,
            dead_letters=result.dead_letters,
            erased=result.erased,
        )

    # --- Partitions that cannot be read or stored: an operator decides, and the others continue

    def _record_losses(self) -> None:
        """Record as lost what Kafka deleted before it was stored. A log that ends too early is halted when assigned."""
        for partition, offsets in self.log.offset_ranges(self.leases.held).items():
            next_offset = self.leases.held[partition].next_offset
            if next_offset < offsets.first:
                loss = record_loss(self.log.topic, self.leases.held, partition, offsets.first, writer=self._writer)
                self.summary.lost += offsets.first - next_offset
                logger.error("Kafka deleted records before they were stored: %s", loss)
        self._assignment.invalidate()

    def _halt_broken_chains(self, exc: ChainBroken) -> None:
        """Halt partitions whose ledger was moved by hand. Raises `exc` if this run holds none of them."""
        if not self._assignment.halt_edited():
            raise exc
        logger.error("%s", exc)

    def _halt_unreadable(self, exc: PartitionUnreadable) -> None:
        """Halt a partition whose bytes are damaged on the broker's disk."""
        self.summary.add_failure(exc)
        advice = f"manage.py rewind --partition {exc.partition} --offset {exc.offset + 1} --skip passes over it"
        text = f"{exc}. If Kafka has no replica to restore it from, {advice}, or over more offsets"
        self._assignment.halt(exc.partition, HaltReason.UNREADABLE, text)

    def _halt_unsupported(self, partition: int, record: UnsupportedVersion) -> None:
        """Halt a partition that needs a newer worker, and let a newer one take it over at once.

        Does neither if the records before could not be stored: then their obstacle halts it, or it is left out.
        """
        lease = self.leases.held.get(partition)
        if lease is None or lease.next_offset != record.offset:
            return
        advice = f"manage.py set_aside --partition {partition} makes a dead letter of it, to be redriven later"
        text = f"waits for a newer worker: {record}. {advice}"
        self._assignment.halt(partition, HaltReason.UNSUPPORTED_VERSION, text)
        self.leases.release([partition])

    def _show_refusal(self, batch: FetchedBatch, exc: Exception) -> None:
        """Show operators which partitions wait, if they must act. This run keeps trying, and storing ends the halt."""
        if classify_error(exc) is ErrorKind.TRANSIENT:
            return
        text = describe_error(exc)
        with suppress(DatabaseFailure):
            for partition in batch.ranges:
                if lease := self.leases.held.get(partition):
                    halt_partition(self.log.topic, partition, lease, HaltReason.STORE_REFUSED, text)

    def _back_off(self, exc: Exception, seconds_left: float) -> None:
        """Wait before the next attempt, the longer the more attempts have failed; report the first failure only."""
        self._consecutive_failures += 1
        self.summary.add_failure(exc)
        if self._consecutive_failures == 1:
            needs_operator = not isinstance(exc, LogUnavailable) and classify_error(exc) is not ErrorKind.TRANSIENT
            level = logging.ERROR if needs_operator else logging.WARNING
            outage = STORING if self._is_storing else READING
            outage.begin(f"{self._writer.worker}: {self.summary.last_error}", level)
        connection.close()
        self._assignment.invalidate()
        time.sleep(min(0.1 * 2**self._consecutive_failures, MAX_BACKOFF_SECONDS, max(seconds_left, 0)))


def _log_batch(records: ParsedBatch, next_offsets: dict[int, int], writer: WriterInfo) -> None:
    """Log which requests' todos a batch has; its rows and the history name them too."""
    ids = [todo.request_id for todo in records.todos if todo.request_id]
    fields = {"request_ids": ids, "next_offsets": next_offsets, **writer._asdict()}
    logger.debug("stored %d records up to %s", len(records), next_offsets, extra=fields)
