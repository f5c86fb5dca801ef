"""Share the partitions of a topic among consumers through the ledger, without a consumer group.

A consumer registers as a poller and renews that registration by a heartbeat. A partition is free if its holder's
registration has expired. Each consumer takes free partitions up to its fair share and releases those beyond it. Only
the database's clock counts. Leases merely avoid wasted work: exactness comes from the compare-and-swap in
todos.ingest.store.

A row that another session has locked stops only its partition: no statement here waits for a ledger row, and each waits
LOCK_TIMEOUT at most for anything else. todos.ledger.held_rows tells operators which session holds a row.
"""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

from django.db import Error as DatabaseFailure
from django.db import connection

from todos.event_log import RecordIdentity
from todos.models import UNTIL_REWIND, PartitionLedger

LEASE_SECONDS = 15.0
HEARTBEAT_SECONDS = LEASE_SECONDS / 3
LOCK_TIMEOUT = "2s"  # of each statement here

# Registers the poller or renews its registration, and deletes expired ones. Only the first statement waits for a lock,
# and only while it holds none, so pollers that expired together cannot deadlock over each other's rows.
REGISTER = """
    INSERT INTO todos_poller (id, topic, worker, expires_at)
    VALUES (%(poller)s, %(topic)s, %(worker)s, now() + %(ttl)s * interval '1 second')
    ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at;
    DELETE FROM todos_poller WHERE id IN (
        SELECT id FROM todos_poller WHERE expires_at < now() FOR UPDATE SKIP LOCKED)
"""
# Returns a row for each partition that does not wait for a rewind: its epoch, whether this poller holds it, whether it
# may take it, and how many pollers share the topic.
LIST_PARTITIONS = """
    SELECT l.partition, l.epoch, l.holder = %(poller)s, holder.id IS NULL OR l.holder = %(poller)s,
           (SELECT count(*) FROM todos_poller WHERE topic = %(topic)s AND expires_at > now())
    FROM todos_partitionledger l
    LEFT JOIN todos_poller holder ON holder.id = l.holder AND holder.expires_at > now()
    WHERE l.topic = %(topic)s AND l.partition = ANY(%(known)s) AND l.halt_reason <> ALL(%(until_rewind)s)
    ORDER BY l.partition
"""
# Takes free partitions, first those that this poller holds already, then any: random order lets each run of a worker
# try others where some need a newer worker. A row that another worker is storing into is locked, and so skipped.
ACQUIRE = """
    UPDATE todos_partitionledger SET holder = %(poller)s, epoch = epoch + 1
    WHERE id IN (
        SELECT l.id FROM todos_partitionledger l
        WHERE l.topic = %(topic)s AND l.partition = ANY(%(wanted)s) AND l.halt_reason <> ALL(%(until_rewind)s)
          AND (l.holder = %(poller)s OR NOT EXISTS (
              SELECT FROM todos_poller p WHERE p.id = l.holder AND p.expires_at > now()))
        ORDER BY l.holder IS DISTINCT FROM %(poller)s, random() LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING partition, next_offset, epoch, last_offset, last_checksum, last_leader_epoch
"""
# Takes a partition even from a poller that is alive, which then can store nothing more of it.
SEIZE = """
    UPDATE todos_partitionledger SET holder = %(poller)s, epoch = epoch + 1
    WHERE topic = %(topic)s AND partition = %(partition)s
    RETURNING partition, next_offset, epoch, last_offset, last_checksum, last_leader_epoch
"""
# Releases partitions that this poller holds. A locked row is skipped: it is free once this poller is gone.
RELEASE = """
    UPDATE todos_partitionledger SET holder = NULL
    WHERE id IN (
        SELECT id FROM todos_partitionledger
        WHERE topic = %(topic)s AND holder = %(poller)s AND partition = ANY(%(partitions)s)
        FOR UPDATE SKIP LOCKED)
"""
UNREGISTER = "DELETE FROM todos_poller WHERE id = %(poller)s"
# Creates missing ledger rows, each with the anchor of its chain of batches. Existing rows are only read, because
# ON CONFLICT would wait for a session that has locked one of them.
ENSURE_LEDGER = """
    WITH made AS (
        INSERT INTO todos_partitionledger (topic, partition, next_offset, epoch, generation)
        SELECT %(topic)s, partition, 0, 0, 0 FROM unnest(%(partitions)s::int[]) AS known (partition)
        WHERE NOT EXISTS (
            SELECT FROM todos_partitionledger l WHERE l.topic = %(topic)s AND l.partition = known.partition)
        ORDER BY partition
        ON CONFLICT (topic, partition) DO NOTHING
        RETURNING topic, partition)
    INSERT INTO todos_batch (topic, partition, generation, next_offset,
                             stored, duplicates, dead_letters, lost, bytes, milliseconds, worker, task_id)
    SELECT topic, partition, 0, 0, 0, 0, 0, 0, 0, 0, '', '' FROM made
"""
# Binds ledger rows to the topic's id where that loses nothing: they have none yet, or nothing was stored. A locked row
# is left to the next discovery.
ADOPT_TOPIC = """
    UPDATE todos_partitionledger SET topic_id = %(id)s
    WHERE id IN (
        SELECT id FROM todos_partitionledger
        WHERE topic = %(topic)s AND (topic_id IS NULL OR (next_offset = 0 AND topic_id <> %(id)s))
        FOR UPDATE SKIP LOCKED)
"""


@dataclass
class Lease:
    """The right to store a partition from `next_offset` on, as long as the ledger still has this `epoch`.

    `last_record` is the last record before `next_offset`; None if it is unknown.
    """

    next_offset: int
    epoch: int
    last_record: RecordIdentity | None = None


class Leases:
    """The partitions that one consumer holds, by number; a context manager that releases them on exit."""

    def __init__(self, topic: str, worker: str) -> None:
        self.topic = topic
        self.worker = worker
        self.held: dict[int, Lease] = {}
        self._poller = uuid4()
        self._next_heartbeat = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._run(RELEASE, partitions=list(self.held))
            self._run(UNREGISTER)
        except DatabaseFailure:  # the leases expire by themselves
            connection.close()
        self.held.clear()

    def refresh(self, partitions: Iterable[int]) -> bool:
        """Send a heartbeat if one is due, and move towards the fair share of `partitions`.

        Returns True if the held leases have changed. Raises a DatabaseError.
        """
        before = {partition: lease.epoch for partition, lease in self.held.items()}
        self.heartbeat()
        rows = self._run(LIST_PARTITIONS, known=list(partitions))
        own = {partition: epoch for partition, epoch, is_own, _, _ in rows if is_own}
        self.held = {partition: lease for partition, lease in self.held.items() if own.get(partition) == lease.epoch}

        # After a suspension every registration has expired, this poller's too, so the count is 0.
        fair_share = math.ceil(len(rows) / max(rows[0][4], 1)) if rows else 0
        # `own` includes partitions whose leases were invalidated after a failure; those are released first.
        self.release(sorted(own, key=lambda partition: (partition not in self.held, partition))[fair_share:])
        free = [partition for partition, _, _, may_take, _ in rows if may_take and partition not in self.held]
        self._acquire(free, fair_share - len(self.held))
        return before != {partition: lease.epoch for partition, lease in self.held.items()}

    def seize(self, partition: int) -> Lease:
        """Take the lease of a partition that has a ledger, from whichever poll holds it. Raises a DatabaseError."""
        self.heartbeat()
        self._hold(self._run(SEIZE, partition=partition))
        return self.held[partition]

    def invalidate(self) -> None:
        """Drop all leases without releasing them; call it after a failure. The next refresh reads them again."""
        self.held.clear()
        self._next_heartbeat = 0.0

    def heartbeat(self) -> None:
        """Renew the registration if HEARTBEAT_SECONDS have passed; it costs nothing otherwise."""
        if time.monotonic() >= self._next_heartbeat:
            self._run(REGISTER, worker=self.worker, ttl=LEASE_SECONDS)
            self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS

    def release(self, partitions: list[int]) -> None:
        """Let other consumers take these partitions at once."""
        if partitions:
            self._run(RELEASE, partitions=partitions)
            for partition in partitions:
                self.held.pop(partition, None)

    def _acquire(self, free: list[int], limit: int) -> None:
        if free and limit > 0:
            self._hold(self._run(ACQUIRE, wanted=free, limit=limit))

    def _hold(self, rows: list[tuple[Any, ...]]) -> None:
        for partition, next_offset, epoch, *last in rows:
            # The release before moves a ledger back and leaves the last record where it was.
            is_known = last[0] is not None and last[0] < next_offset
            self.held[partition] = Lease(next_offset, epoch, RecordIdentity(*last) if is_known else None)

    def _run(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        own = {"poller": self._poller, "topic": self.topic, "until_rewind": list(UNTIL_REWIND)}
        return _execute(sql, own | params)


def ensure_ledger(topic: str, partitions: Iterable[int]) -> None:
    """Create the ledger rows that are missing, at offset 0. Existing rows stay as they are."""
    _execute(ENSURE_LEDGER, {"topic": topic, "partitions": list(partitions)})


def recreated_partitions(topic: str, topic_id: UUID | None, partitions: Iterable[int]) -> dict[int, Lease]:
    """Return where the ledgers are that count the offsets of an older topic of the same name, by partition.

    Those that are halted for it already are left out. A ledger without any stored record is bound to `topic_id`.
    None, for a log without ids, returns nothing.
    """
    if topic_id is None:
        return {}
    _execute(ADOPT_TOPIC, {"topic": topic, "id": topic_id})
    # A row that could not be bound just now because it was locked is no row of another topic.
    bound = PartitionLedger.objects.filter(
        topic=topic, partition__in=list(partitions), topic_id__isnull=False, next_offset__gt=0
    )
    others = bound.exclude(topic_id=topic_id).exclude(halt_reason__in=UNTIL_REWIND)
    return {row.partition: Lease(row.next_offset, row.epoch) for row in others}


def _execute(sql: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Execute in one transaction and one round trip, with LOCK_TIMEOUT. Return the rows of the last statement."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; {sql}", params)
        return cursor.fetchall() if cursor.description else []
