"""Simulate partitions, polls with leases, worker hosts that die and PostgreSQL's limits, without the services.

`make simulate` uses the costs that `make bench-scaling` measured. Arrivals are even, so no record is an object: of a
partition's rate x time records, so many are stored. A batch is an event, which takes as long as its rows cost the child
or the database, whichever is longer. Kafka and the edge are a delay and an upper bound.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from todos.ingest.assignment import REFRESH_SECONDS
from todos.ingest.options import PollOptions
from todos.ingest.prefetch import PREFETCH_MIN_RECORDS
from todos.ledger.leases import HEARTBEAT_SECONDS, LEASE_SECONDS

SHORTEST_WAIT = 1e-6  # so that time advances in spite of rounding
ROUNDING = 1e-6


@dataclass(frozen=True)
class Setting:
    """Times are seconds, rates are per second. `row` is a child's time for a row, `database_row` core-seconds."""

    rate: float
    row: float
    database_row: float
    database_cores: float  # of each shard
    small: float = 0.0  # of each transaction, independent of its size
    hop: float = 0.0  # until a record can be read
    edge_rate: float = math.inf  # of all edges together
    seconds: float = 60.0
    partitions: int = 6
    skew: float = 0.0  # 0: all partitions alike; 1: the second gets half of the first, the third a third
    hosts: int = 1
    children: int = 2  # of each host
    shards: int = 1  # partitions and children belong to one each
    every: float = 5.0
    budget: float = PollOptions().time_budget_seconds
    max_records: int = PollOptions().max_records
    fails_at: float = math.inf  # the first host, with all its children
    back_at: float = math.inf


@dataclass(eq=False)
class Partition:
    rate: float
    hop: float
    shard: int
    phase: float  # of its first record, so that not all partitions have theirs at one moment
    stored: int = 0
    holder: "Child | None" = None

    def arrived(self, now: float) -> int:
        return int(self.rate * now + self.phase + ROUNDING)

    def readable(self, now: float) -> int:
        return self.arrived(max(now - self.hop, 0.0)) - self.stored

    def next_at(self) -> float:
        """Return when the next record can be read."""
        return (self.stored + 1 - self.phase) / self.rate + self.hop

    def age(self, now: float, number: int) -> float:
        """Return the age of the middle one of the next `number` records."""
        return now - (self.stored + (number + 1) / 2 - self.phase) / self.rate


@dataclass(eq=False)
class Child:
    host: int
    shard: int
    deadline: float = -1.0  # of its poll
    heartbeat: float = -math.inf
    next_refresh: float = 0.0
    is_dead: bool = False
    storing: list[tuple[Partition, int]] = field(default_factory=list)
    busy: float = 0.0

    def is_alive(self, now: float) -> bool:
        """Return whether its lease is valid; that of a dead child is, until it expires."""
        return now < self.heartbeat + LEASE_SECONDS


class Sample(NamedTuple):
    """The time since the previous sample. `delay` is the median of records, from the edge to the transaction."""

    at: float
    accepted: int
    stored: int
    lag: int
    delay: float
    workers_busy: float
    database_busy: float


class Simulation:
    def __init__(self, setting: Setting) -> None:
        self.setting, self.now = setting, 0.0
        weights = [1 / (rank + 1) ** setting.skew for rank in range(setting.partitions)]
        accepted = min(setting.rate, setting.edge_rate) / sum(weights)
        self.partitions = [
            Partition(accepted * weight, setting.hop, number % setting.shards, number / setting.partitions)
            for number, weight in enumerate(weights)
        ]
        number = setting.hosts * setting.children
        self.children = [Child(n // setting.children, n % setting.shards) for n in range(number)]
        self.database_free = [0.0] * setting.shards
        self.database_busy = 0.0
        self.ticks = [0] * setting.shards
        self.delays: list[tuple[float, int]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        for place, child in enumerate(self.children):  # polls are under way, and end one after the other
            self._start(child, setting.budget * (place + 1) / number)

    def run(self, every: float = 1.0) -> Iterator[Sample]:
        """Yield a sample every so many seconds."""
        self._at(self.setting.every, self._tick)
        self._at(self.setting.fails_at, partial(self._set_dead, True))
        self._at(self.setting.back_at, partial(self._set_dead, False))
        for number in range(1, int(self.setting.seconds / every) + 1):
            while self._events[0][0] <= number * every:
                self.now, _, action = heapq.heappop(self._events)
                action()
            self.now = number * every
            yield self._sample(every)

    def _at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1  # of two at one time, the older comes first
        heapq.heappush(self._events, (when, self._count, action))

    # --- Beat, and hosts that fail

    def _set_dead(self, is_dead: bool) -> None:
        for child in self.children:
            if child.host == 0:
                child.is_dead = is_dead

    def _tick(self) -> None:
        self._at(self.now + self.setting.every, self._tick)
        idle = [child for child in self.children if child.deadline < 0 and not child.is_dead]
        for shard in range(self.setting.shards):
            free = next((child for child in idle if child.shard == shard), None)
            if free:
                self._start(free, self.setting.budget)
            self.ticks[shard] = 0 if free else 1  # a tick is void when the next one comes

    def _start(self, child: Child, budget: float) -> None:
        child.deadline, child.heartbeat, child.next_refresh = self.now + budget, self.now, self.now
        self._at(self.now, partial(self._step, child))

    # --- A poll

    def _step(self, child: Child) -> None:
        if child.is_dead:  # what it was storing is rolled back; its lease stays until it expires
            child.storing, child.deadline = [], -1.0
            return
        for partition, number in child.storing:
            if partition.holder is child:  # as the compare-and-swap sees to
                partition.stored += number
        child.storing = []
        if self.now >= child.deadline:
            self._end(child)
            return
        if self.now >= child.next_refresh:
            self._refresh(child)
        held = [partition for partition in self.partitions if partition.holder is child]
        if batch := self._read(held):
            self._at(self._store(child, batch), partial(self._step, child))
        else:
            arrives = min((partition.next_at() for partition in held), default=math.inf)
            wait = min(arrives, child.next_refresh, child.deadline)
            self._at(max(wait, self.now + SHORTEST_WAIT), partial(self._step, child))

    def _end(self, child: Child) -> None:
        for partition in self.partitions:
            if partition.holder is child:
                partition.holder = None
        child.deadline, child.heartbeat = -1.0, -math.inf
        if self.ticks[child.shard]:
            self.ticks[child.shard] = 0
            self._start(child, self.setting.budget)

    def _refresh(self, child: Child) -> None:
        """As todos.ledger.leases: release what is above the fair share, acquire what is free up to it."""
        if self.now >= child.heartbeat + HEARTBEAT_SECONDS:
            child.heartbeat = self.now
        child.next_refresh = self.now + REFRESH_SECONDS
        of_shard = [partition for partition in self.partitions if partition.shard == child.shard]
        alive = sum(other.shard == child.shard and other.is_alive(self.now) for other in self.children)
        share = math.ceil(len(of_shard) / alive)
        held = [partition for partition in of_shard if partition.holder is child]
        for partition in held[share:]:
            partition.holder = None
        free = [p for p in of_shard if p.holder is None or not p.holder.is_alive(self.now)]
        for partition in free[: max(share - len(held), 0)]:
            partition.holder = child

    def _read(self, held: list[Partition]) -> list[tuple[Partition, int]]:
        """Take the partitions that are furthest behind first, and as many records as one transaction stores."""
        room, batch = self.setting.max_records, []
        for partition in sorted(held, key=lambda each: -each.readable(self.now)):
            if (number := min(partition.readable(self.now), room)) > 0:
                batch.append((partition, number))
                room -= number
        return batch

    def _store(self, child: Child, batch: list[tuple[Partition, int]]) -> float:
        """Return when the batch is stored; a child that dies before stores nothing of it."""
        setting, number = self.setting, sum(number for _, number in batch)
        self.delays += [(partition.age(self.now, some), some) for partition, some in batch]
        work = number * setting.database_row / setting.database_cores
        self.database_free[child.shard] = max(self.database_free[child.shard], self.now) + work
        self.database_busy += work
        alone = (
            max(setting.row, setting.database_row)
            if number >= min(PREFETCH_MIN_RECORDS, setting.max_records)
            else setting.row
        )
        done = max(self.database_free[child.shard], self.now + number * alone) + setting.small
        child.busy += done - self.now
        child.storing = batch
        return done

    # --- What is reported

    def _sample(self, every: float) -> Sample:
        setting = self.setting
        accepted = sum(partition.arrived(self.now) for partition in self.partitions)
        stored = sum(partition.stored for partition in self.partitions)
        workers, database = sum(child.busy for child in self.children), self.database_busy
        sample = Sample(
            self.now, accepted, stored, accepted - stored, weighted_median(self.delays),
            workers / every / len(self.children), database / every / setting.shards,
        )  # fmt: skip
        self.delays, self.database_busy = [], 0.0
        for child in self.children:
            child.busy = 0.0
        return sample


def weighted_median(values: list[tuple[float, int]]) -> float:
    """Return the median of (value, weight); 0 without any."""
    left = sum(number for _, number in values) / 2
    for value, number in sorted(values):
        if (left := left - number) <= 0:
            return value
    return 0.0


def simulate(setting: Setting, **changes: float) -> list[Sample]:
    return list(Simulation(replace(setting, **changes)).run())  # type: ignore[arg-type]
