"""What the simulation is told, what it moves, and what it tells."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from todos.ingest.options import PollOptions
from todos.ledger.leases import LEASE_SECONDS

ROUNDING = 1e-6


@dataclass(frozen=True)
class Setting:
    """Times in seconds, rates a second. `row` is a child's time for a row, `database_row` core-seconds."""

    rate: float
    row: float
    database_row: float
    database_cores: float  # of each shard
    small: float = 0.0  # of each transaction, whatever it holds
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
        """When its next record can be read."""
        return (self.stored + 1 - self.phase) / self.rate + self.hop

    def age(self, now: float, number: int) -> float:
        """Of the middle one of the next so many records."""
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
        """As its lease says: the dead live on until it expires."""
        return now < self.heartbeat + LEASE_SECONDS


class Sample(NamedTuple):
    """Of the time since the sample before; `delay` is from the edge to the transaction, the median of records."""

    at: float
    accepted: int
    stored: int
    lag: int
    delay: float
    workers_busy: float
    database_busy: float
