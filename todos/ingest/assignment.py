"""Decide which partitions one consumer run reads, and publish how far they are stored."""

import logging
import time
from collections.abc import Mapping

from todos.event_log import Log, LogUnavailable, OffsetRange, RecordIdentity
from todos.ingest.prefetch import Prefetcher
from todos.ledger.batch_history import broken_chains
from todos.ledger.divergence import agreed_offset
from todos.ledger.halts import halt_partition
from todos.ledger.leases import Lease, Leases, ensure_ledger, recreated_partitions
from todos.models import UNTIL_REWIND, HaltReason

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 0.25  # within this time a run notices a freed partition, even in the middle of a long poll
DISCOVERY_SECONDS = 10.0  # within this time it notices a new partition
PUBLISH_SECONDS = 1.0
FINISH_SECONDS = 1.0
LEFT_OUT_SECONDS = 10.0
SILENCE_SECONDS = 2.0  # no broker comes back with another log, and grown beyond the ledger, within this time
SEE_REWIND = "Not reading this partition; see manage.py rewind"


class Assignment:
    """The partitions that a run reads: its share of the topic, without those that it halted."""

    def __init__(self, log: Log, leases: Leases, prefetcher: Prefetcher) -> None:
        self.leases = leases
        self._log = log
        self._prefetcher = prefetcher
        self._partitions: list[int] = []
        self._halted: dict[int, HaltReason] = {}  # by this run
        self._left_out: dict[int, float] = {}  # until when, in seconds of time.monotonic
        self._is_stale = False
        self._next_discovery = self._next_refresh = self._next_publish = 0.0
        self._silent_since: float | None = None
        self._has_unpublished = False

    @property
    def seconds_until_refresh(self) -> float:
        """How long a read may wait, 0 or more."""
        return max(self._next_refresh - time.monotonic(), 0)

    @property
    def needs_newer_worker(self) -> bool:
        """Whether this run halted a partition that only a newer worker can read."""
        return HaltReason.UNSUPPORTED_VERSION in self._halted.values()

    def refresh(self) -> None:
        """Discover partitions and move towards a fair share of them, if either is due.

        Raises LogUnavailable or a DatabaseError.
        """
        if time.monotonic() >= self._next_discovery:
            self._partitions = self._log.partitions()
            ensure_ledger(self._log.topic, self._partitions)
            self._halt_recreated()
            self._next_discovery = time.monotonic() + DISCOVERY_SECONDS
        if self._is_stale:
            self.leases.invalidate()
            self._next_refresh, self._is_stale = 0.0, False
        if time.monotonic() >= self._next_refresh:
            if self.leases.refresh(self._readable()) or self._is_silent():
                self._assign()
            self._next_refresh = time.monotonic() + REFRESH_SECONDS

    def note_read(self, *, is_empty: bool) -> None:
        """Note whether a read returned nothing: a silence may have been an outage, so the log is verified again."""
        self._silent_since = (self._silent_since or time.monotonic()) if is_empty else None

    def invalidate(self) -> None:
        """Read all partitions again from where their ledgers are; call it after a failure."""
        self._is_stale = True

    def halt(self, partition: int, reason: HaltReason, text: str) -> None:
        """Leave out a partition until this run ends, and show operators why. The next run tries it again.

        Does neither if the lease is lost: then only its holder may judge the partition. Raises a DatabaseError.
        """
        self.invalidate()
        if lease := self.leases.held.get(partition):
            self._halt(partition, lease, reason, text)

    def halt_edited(self) -> bool:
        """Halt the partitions whose ledgers were moved by hand. Returns False if none of the leased ones was.

        Raises a DatabaseError.
        """
        edited = [ledger for ledger in broken_chains(self._log.topic) if ledger.partition in self.leases.held]
        for ledger in edited:
            text = f"is at {ledger.next_offset}, but its batches end at {ledger.chain_end}"
            self.halt(ledger.partition, HaltReason.LEDGER_EDITED, f"{text}. {SEE_REWIND}")
        return bool(edited)

    def halt_diverged(self, partition: int, text: str) -> None:
        """Halt a partition whose log is not the one that was stored, and record from which offset on they differ.

        If the log does not return a record that this takes, the partition is left out. Raises a DatabaseError.
        """
        self.invalidate()
        if lease := self.leases.held.get(partition):
            try:
                ranges, agreed = self._compare_logs(partition)
            except LogUnavailable as exc:
                logger.warning("%s/%d %s: %s", self._log.topic, partition, text, exc)
                self.leave_out(partition)
                return
            known = lease.last_record
            if lease.next_offset <= ranges.end and (known is None or known.offset < agreed):
                return  # a broker that no longer leads the partition answered before
            diverged = OffsetRange(agreed, max(ranges.end, lease.next_offset))
            text = f"{text}. The logs agree up to offset {agreed}. {SEE_REWIND}"
            self._halt(partition, lease, HaltReason.LOG_DIVERGED, text, diverged)

    def leave_out(self, partition: int) -> None:
        """Do not read a partition for LEFT_OUT_SECONDS, so that the others do not wait for it again and again."""
        self._left_out[partition] = time.monotonic() + LEFT_OUT_SECONDS
        self.invalidate()

    def advance(self, next_offsets: Mapping[int, int], last_records: Mapping[int, RecordIdentity]) -> None:
        """Move the leases to where a stored batch ends."""
        for partition, next_offset in next_offsets.items():
            lease = self.leases.held[partition]
            lease.next_offset, lease.last_record = next_offset, last_records.get(partition, lease.last_record)
        self._has_unpublished = True

    def publish(self) -> None:
        """Publish stored offsets to the log's own tools, every PUBLISH_SECONDS at most. Returns at once."""
        if self._has_unpublished and time.monotonic() >= self._next_publish:
            self._publish()

    def finish_publishing(self) -> None:
        """Publish the last offsets of a run, and wait for FINISH_SECONDS at most."""
        if self._has_unpublished:
            self._publish()
        self._log.finish_publishing(FINISH_SECONDS)

    def _readable(self) -> set[int]:
        left_out = {partition for partition, until in self._left_out.items() if time.monotonic() < until}
        return set(self._partitions) - self._halted.keys() - left_out

    def _publish(self) -> None:
        """Publish what this run holds: the offsets of a released partition are its next holder's to publish."""
        self._log.publish({partition: lease.next_offset for partition, lease in self.leases.held.items()})
        self._has_unpublished, self._next_publish = False, time.monotonic() + PUBLISH_SECONDS

    def _is_silent(self) -> bool:
        return self._silent_since is not None and time.monotonic() >= self._silent_since + SILENCE_SECONDS

    def _compare_logs(self, partition: int) -> tuple[OffsetRange, int]:
        """Return the offsets that the log has now, and up to which of them it is the one that was stored."""
        self._prefetcher.assign({})  # this thread reads until the next assignment
        try:
            ranges = self._log.offset_ranges([partition])[partition]
            return ranges, agreed_offset(self._log, partition, ranges, self.leases.heartbeat)
        finally:
            self._prefetcher.assign({})

    def _assign(self) -> None:
        """Read what is leased. A partition that ends before its ledger is halted: its log has lost what was stored."""
        held = self.leases.held
        ranges = self._log.offset_ranges(held)
        positions = {p: lease.next_offset for p, lease in held.items() if lease.next_offset <= ranges[p].end}
        last_records = {
            p: record
            for p in positions
            # If Kafka has deleted the last record, reading goes on unverified: its absence proves nothing.
            if (record := held[p].last_record) and record.offset >= ranges[p].first
        }
        self._prefetcher.assign(positions, last_records)
        self._silent_since, self._has_unpublished = None, True
        ended = held.keys() - positions.keys()
        if ended and self.halt_edited():
            return
        for partition in ended:
            text = f"ends at {ranges[partition].end}, but the ledger is at {held[partition].next_offset}"
            self.halt_diverged(partition, f"{text}: Kafka lost data, or the topic was recreated")

    def _halt(
        self, partition: int, lease: Lease, reason: HaltReason, text: str, diverged: OffsetRange | None = None
    ) -> None:
        if halt_partition(self._log.topic, partition, lease, reason, text, diverged):
            logger.error("%s/%d %s", self._log.topic, partition, text)
            if reason not in UNTIL_REWIND:  # which no run can lease
                self._halted[partition] = reason

    def _halt_recreated(self) -> None:
        """Halt partitions of a recreated topic. If it is longer than the ledger, no offset would be out of range."""
        recreated = recreated_partitions(self._log.topic, self._log.identity(), self._partitions)
        for partition, lease in recreated.items():
            text = f"was recreated, and its ledger counts the offsets of the old topic. {SEE_REWIND}"
            self._halt(partition, lease, HaltReason.TOPIC_RECREATED, text, OffsetRange(0, lease.next_offset))
            self._halted[partition] = HaltReason.TOPIC_RECREATED  # it must not be read, also if its row was locked
