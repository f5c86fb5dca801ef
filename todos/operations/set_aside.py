"""Get a halted partition past the records that block it, once: store what can be stored, and set the rest aside.

The records are stored as a poll would store them, but without the dead-letter limit, and one that needs a newer worker
becomes a dead letter too. Nothing is lost: each dead letter can be redriven once its cause is gone.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from django.db import transaction

from todos.event_log import Log, LogUnavailable, OffsetRange
from todos.ingest.bisect import insert_bisecting
from todos.ingest.dead_letter_limit import DeadLetterLimit
from todos.ingest.parsing import ParsedBatch, parse_records
from todos.ingest.prefetch import FetchedBatch, Prefetcher
from todos.ingest.store import StoreResult, insert_todos, leave_out_erased, set_transaction_timeouts, store
from todos.ledger.batch_history import UNKNOWN_WRITER, WriterInfo
from todos.ledger.divergence import last_record_of
from todos.ledger.leases import Lease, Leases
from todos.models import HaltReason, PartitionLedger

MAX_RECORDS = 1_000
SILENCE_SECONDS = 15.0
NO_LIMIT = DeadLetterLimit(percent=100)
# For any other reason it is no record that blocks the partition, or one that cannot be read.
BLOCKED_BY_RECORDS = {HaltReason.TOO_MANY_DEAD_LETTERS, HaltReason.UNSUPPORTED_VERSION, HaltReason.STORE_REFUSED}


class NothingToSetAside(Exception):
    """Raised when the partition is not halted, or not by records that can be set aside."""


@dataclass
class Outcome:
    """What became of the records from the offset `first` up to, not including, `end`."""

    first: int
    end: int
    todos: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    erased: int = 0

    def add(self, end: int, result: StoreResult) -> None:
        """Count one batch, which ends at `end`."""
        self.end = end
        self.todos += result.todos
        self.duplicates += result.duplicates
        self.dead_letters += result.dead_letters
        self.erased += result.erased


def set_aside(
    log: Log, partition: int, end: int | None = None, *, dry_run: bool = False, writer: WriterInfo = UNKNOWN_WRITER
) -> Outcome:
    """Store a halted partition up to the offset `end`, by default where it ends now, and set aside what cannot be.

    It ends before a transaction that a producer has not ended: nothing from there on can be read yet.

    Takes the lease even from a running poll, and stores in one transaction for each batch. `dry_run` tells the outcome
    and changes nothing.

    Raises PartitionLedger.DoesNotExist, NothingToSetAside, LeaseLost, LogUnavailable, OffsetOutOfRange, LogDiverged,
    SystemicFailure if the database refuses every todo, or a DatabaseError; batches that are stored by then stay stored.
    """
    ledger = PartitionLedger.objects.get(topic=log.topic, partition=partition)
    if ledger.halt_reason not in BLOCKED_BY_RECORDS:
        why = f"is halted: {ledger.why_halted}" if ledger.why_halted else "is not halted"
        raise NothingToSetAside(f"{ledger} {why}")
    held = log.offset_ranges([partition])[partition]
    end = held.end if end is None else min(end, held.end)
    if open_transaction := log.open_transactions({partition: held.end}).get(partition):
        end = min(end, open_transaction.first_offset)
    parse = partial(parse_records, set_aside=True)
    with Prefetcher(log, MAX_RECORDS, parse) as prefetcher, Leases(log.topic, writer.worker) as leases:
        own = Lease(ledger.next_offset, ledger.epoch, last_record_of(ledger))
        lease = own if dry_run else leases.seize(partition)
        outcome = Outcome(lease.next_offset, lease.next_offset)
        for batch in _read(prefetcher, partition, lease, OffsetRange(held.first, end)):
            (_, reached) = batch.ranges[partition]
            if dry_run:
                result = _try(batch.records)
            else:
                leases.heartbeat()
                result = store(
                    log.topic, {partition: lease}, batch.records, {partition: reached}, limit=NO_LIMIT, writer=writer
                )
                lease.next_offset = reached
            outcome.add(reached, result)
    return outcome


def _read(prefetcher: Prefetcher, partition: int, lease: Lease, held: OffsetRange) -> Iterator[FetchedBatch]:
    """Yield the batches from the lease's offset up to the end of `held`. Raises LogUnavailable, LogDiverged."""
    last = lease.last_record
    prefetcher.assign({partition: lease.next_offset}, {partition: last} if last and last.offset >= held.first else {})
    reached, deadline = lease.next_offset, time.monotonic() + SILENCE_SECONDS
    while reached < held.end:
        batch = prefetcher.read(1.0)
        if batch.ranges:
            batch = batch.before(partition, held.end)
            reached, deadline = batch.ranges[partition][1], time.monotonic() + SILENCE_SECONDS
            yield batch
        elif time.monotonic() > deadline:
            raise LogUnavailable(f"no answer for {SILENCE_SECONDS:g} s at offset {reached} of {partition}")


@transaction.atomic
def _try(records: ParsedBatch) -> StoreResult:
    """Insert the todos as a poll would, and roll back."""
    set_transaction_timeouts()
    kept, erased = leave_out_erased(records)
    result = insert_bisecting(insert_todos, kept.todos, max_rejected=len(kept))
    transaction.set_rollback(True)
    stored, rejected = result.inserted.total(), len(result.rejected)
    duplicates, letters = len(kept.todos) - stored - rejected, len(kept.dead_letters) + rejected
    return StoreResult(stored, duplicates, letters, erased.total())
