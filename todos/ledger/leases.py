"""Who reads which partition: polls share the partitions of a topic through the ledger, without a consumer group.

A poll registers as a Poller and keeps it alive by a heartbeat. A partition is free when its holder is not alive.
Each poll takes free partitions up to its fair share and gives back what it holds beyond it. Only the database's
clock counts. Leases merely avoid wasted work: exactness comes from the compare-and-swap in todos.ingest.store.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

from django.db import Error as DatabaseFailure
from django.db import connection

from todos.models import PartitionLedger

LEASE_SECONDS = 15.0
HEARTBEAT_SECONDS = LEASE_SECONDS / 3

REGISTER = """
    WITH dead AS (DELETE FROM todos_poller WHERE expires_at < now())
    INSERT INTO todos_poller (id, topic, worker, expires_at)
    VALUES (%(me)s, %(topic)s, %(worker)s, now() + %(ttl)s * interval '1 second')
    ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at
"""
# One row per partition: may it be taken, is it mine, and how many polls share the topic.
SURVEY = """
    SELECT l.partition, l.epoch, l.holder = %(me)s, holder.id IS NULL OR l.holder = %(me)s,
           (SELECT count(*) FROM todos_poller WHERE topic = %(topic)s AND expires_at > now())
    FROM todos_partitionledger l
    LEFT JOIN todos_poller holder ON holder.id = l.holder AND holder.expires_at > now()
    WHERE l.topic = %(topic)s AND l.partition = ANY(%(known)s)
    ORDER BY l.partition
"""
# A row that another worker is storing into is locked, so it is never taken in mid-transaction. What is mine
# comes first, then any: where some wait for a newer worker, each of its polls shall find others.
TAKE = """
    UPDATE todos_partitionledger SET holder = %(me)s, epoch = epoch + 1
    WHERE id IN (
        SELECT l.id FROM todos_partitionledger l
        WHERE l.topic = %(topic)s AND l.partition = ANY(%(wanted)s)
          AND (l.holder = %(me)s OR NOT EXISTS (
              SELECT FROM todos_poller p WHERE p.id = l.holder AND p.expires_at > now()))
        ORDER BY l.holder IS DISTINCT FROM %(me)s, random() LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING partition, next_offset, epoch
"""
GIVE_BACK = """
    UPDATE todos_partitionledger SET holder = NULL
    WHERE topic = %(topic)s AND holder = %(me)s AND partition = ANY(%(partitions)s)
"""
# With the anchor of its chain of batches.
ENSURE_LEDGER = """
    WITH made AS (
        INSERT INTO todos_partitionledger (topic, partition, next_offset, epoch, generation)
        SELECT %(topic)s, partition, 0, 0, 0 FROM unnest(%(partitions)s::int[]) AS known (partition)
        ON CONFLICT (topic, partition) DO NOTHING
        RETURNING topic, partition)
    INSERT INTO todos_batch (topic, partition, generation, next_offset,
                             stored, duplicates, dead_letters, lost, bytes, milliseconds, worker, task_id)
    SELECT topic, partition, 0, 0, 0, 0, 0, 0, 0, 0, '', '' FROM made
"""
# Where nothing was stored yet, nothing can be missed.
ADOPT_TOPIC = """
    UPDATE todos_partitionledger SET topic_id = %(id)s
    WHERE topic = %(topic)s AND (topic_id IS NULL OR (next_offset = 0 AND topic_id <> %(id)s))
"""


@dataclass
class Lease:
    """The right to store a partition from `next_offset` on, as long as the ledger still says `epoch`."""

    next_offset: int
    epoch: int


class Leases:
    """The partitions that one poll holds; a context manager that gives them back."""

    def __init__(self, topic: str, worker: str) -> None:
        self.topic = topic
        self.worker = worker
        self.me: UUID = uuid4()
        self.held: dict[int, Lease] = {}
        self.has_too_few = False  # for its fair share, at the last refresh
        self._next_heartbeat = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._run(GIVE_BACK, partitions=list(self.held))
            self._run("DELETE FROM todos_poller WHERE id = %(me)s")
        except DatabaseFailure:  # they expire by themselves
            connection.close()
        self.held.clear()

    def refresh(self, partitions: Iterable[int]) -> bool:
        """Stay alive, and move towards the fair share of `partitions`. True when what is held has changed."""
        before = {partition: lease.epoch for partition, lease in self.held.items()}
        self.heartbeat()
        survey = self._run(SURVEY, known=list(partitions))
        mine = {partition: epoch for partition, epoch, is_mine, _, _ in survey if is_mine}
        self.held = {p: lease for p, lease in self.held.items() if mine.get(p) == lease.epoch}

        share = math.ceil(len(survey) / survey[0][4]) if survey else 0
        # Also what is mine without a lease that I know of, since a failure.
        self.give_back(sorted(mine, key=lambda partition: (partition not in self.held, partition))[share:])
        free = [partition for partition, _, _, may_take, _ in survey if may_take and partition not in self.held]
        self._take(free, share - len(self.held))
        # Rounded down: who only misses what nobody can have need not hurry.
        self.has_too_few = bool(survey) and len(self.held) < max(len(survey) // survey[0][4], 1)
        return before != {partition: lease.epoch for partition, lease in self.held.items()}

    def forget(self) -> None:
        """After a failure: nothing is known of what is held until the next refresh."""
        self.held.clear()
        self._next_heartbeat = 0.0

    def heartbeat(self) -> None:
        """Costs nothing as long as no heartbeat is due."""
        if time.monotonic() >= self._next_heartbeat:
            self._run(REGISTER, worker=self.worker, ttl=LEASE_SECONDS)
            self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS

    def give_back(self, partitions: list[int]) -> None:
        if partitions:
            self._run(GIVE_BACK, partitions=partitions)
            for partition in partitions:
                self.held.pop(partition, None)

    def _take(self, free: list[int], limit: int) -> None:
        if free and limit > 0:
            for partition, next_offset, epoch in self._run(TAKE, wanted=free, limit=limit):
                self.held[partition] = Lease(next_offset, epoch)

    def _run(self, sql: str, **params: Any) -> list[tuple[int, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, {"me": self.me, "topic": self.topic, **params})
            return cursor.fetchall() if cursor.description else []


def ensure_ledger(topic: str, partitions: Iterable[int]) -> None:
    """A row for every partition, also for one that was added just now; those that exist stay as they are."""
    with connection.cursor() as cursor:
        cursor.execute(ENSURE_LEDGER, {"topic": topic, "partitions": list(partitions)})


def recreated_partitions(topic: str, topic_id: UUID | None, partitions: Iterable[int]) -> list[int]:
    """Those whose ledger counts the offsets of an older topic under the same name; a new ledger adopts this one."""
    if topic_id is None:
        return []
    with connection.cursor() as cursor:
        cursor.execute(ADOPT_TOPIC, {"topic": topic, "id": topic_id})
    others = PartitionLedger.objects.filter(topic=topic, partition__in=list(partitions)).exclude(topic_id=topic_id)
    return list(others.values_list("partition", flat=True))


def set_halt_reason(topic: str, partitions: Iterable[int], text: str) -> None:
    """Show operators why these partitions stand still. The move of a ledger takes it back."""
    PartitionLedger.objects.filter(topic=topic, partition__in=list(partitions)).update(alarm=text)
