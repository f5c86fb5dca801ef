"""Predict what a rate needs, each with its formula in words, and which limits it meets."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from django.conf import settings

from benchmarks.capacity.costs import Costs, Drain, Intake
from todos.ingest.options import PollOptions
from todos.operations.schedules import DEFAULTS

PARTITIONS = settings.TOPIC_PARTITIONS
PARTITIONS_PER_CHILD = 4  # shares are whole partitions: fewer of them leave some children without work
MOST_POLLS = 60  # at a time, of one schedule: one starts each second and runs for 60
POSTGRES_CONNECTIONS = 97  # of its default 100, less those kept for superusers
LARGEST_TABLE = 32 * 2**40  # bytes, of PostgreSQL without partitions
DAY, MEGA, GIGA = 86_400, 1e6, 1e9


class Wanted(NamedTuple):
    todos_per_second: float
    batch: bool = False
    retention_hours: float = 168
    keep_days: float = 30
    replication: int = 3
    utilisation: float = 0.6
    primary_cores: int = 16
    primary_disk: float = 500  # MB/s that it can write


class Need(NamedTuple):
    name: str
    amount: float
    unit: str
    how: str


class Limit(NamedTuple):
    """A limit that is met at `at` todos a second."""

    at: float
    name: str
    then: str


class Plan(NamedTuple):
    needs: list[Need]
    limits: list[Limit]  # the lowest first


def plan(costs: Costs, wanted: Wanted) -> Plan:
    intake = costs.batch if wanted.batch else costs.single
    return Plan(
        [
            *_processes(intake, costs.drain, wanted),
            *_connections(intake, costs.drain, wanted),
            *_traffic(intake, costs.drain, wanted),
            *_disks(intake, costs.drain, wanted),
        ],
        sorted(_limits(intake, costs.drain, wanted)),
    )


def edges(intake: Intake, wanted: Wanted) -> int:
    return math.ceil(wanted.todos_per_second / (intake.rate * wanted.utilisation))


def children(drain: Drain, wanted: Wanted) -> int:
    return math.ceil(wanted.todos_per_second / (drain.rate * wanted.utilisation))


def primary_rate(drain: Drain, wanted: Wanted) -> float:
    """Return the rows a second at which the processors or the disk of one PostgreSQL primary are full."""
    written = drain.heap + drain.indexes + drain.wal
    left = 1 / wanted.utilisation - 1  # of each busy second of a child
    row = drain.postgres + left * drain.small_cores / drain.rate
    return wanted.utilisation * min(wanted.primary_cores / row, wanted.primary_disk * MEGA / written)


def _processes(intake: Intake, drain: Drain, wanted: Wanted) -> Iterator[Need]:
    rate, busy = wanted.todos_per_second, f"{wanted.utilisation:.0%}"
    workers = children(drain, wanted)
    yield Need("edge processes", edges(intake, wanted), "", f"rate / ({intake.rate:,.0f} todos/s of one, {busy} busy)")
    kafka = intake.kafka * wanted.replication + drain.kafka
    how = "rate x (a produced record's time x replication + a fetched one's); each copy costs as much as the first"
    yield Need("Kafka, all brokers", rate * kafka / wanted.utilisation, "cores", how)
    yield Need("worker children", workers, "", f"rate / ({drain.rate:,.0f} rows/s of one, {busy} busy)")
    how = f"{PARTITIONS_PER_CHILD} for each child, {PARTITIONS} at least"
    yield Need("partitions", max(PARTITIONS, PARTITIONS_PER_CHILD * workers), "", how)
    yield Need("beat", 1, "", "a tick costs nothing; a second beat only doubles the ticks")
    yield from _schedule(workers)
    small = (workers - rate / drain.rate) * drain.small_cores
    how = (
        f"rate x a row's time, and {drain.small_cores:.2f} for each child that has no backlog: it stores few rows often"
    )
    yield Need("PostgreSQL, all primaries", (rate * drain.postgres + small) / wanted.utilisation, "cores", how)
    full = primary_rate(drain, wanted)
    how = (
        f"rate / {full:,.0f} rows/s, where {wanted.primary_cores} cores or {wanted.primary_disk:g} MB/s are {busy} busy"
    )
    yield Need("PostgreSQL primaries", math.ceil(rate / full), "", how)


def _schedule(workers: int) -> Iterator[Need]:
    """Plan schedules that run as many polls at a time as there are children."""
    schedules = math.ceil(workers / MOST_POLLS)
    budget = max(PollOptions().time_budget_seconds, math.ceil(workers / schedules))
    yield Need("schedules of the poll", schedules, "", f"children / {MOST_POLLS}, the most polls at a time of one")
    every = max(budget * schedules // max(workers, 2), 1)
    how = "time budget x schedules / children; for one child as for two, so that a poll waits when one ends"
    yield Need("interval of each schedule", every, "s", how)
    how = f"{PollOptions().time_budget_seconds} at least, {MOST_POLLS} at most, so that each child has a poll"
    yield Need("time budget of each schedule", budget, "s", how)


def _connections(intake: Intake, drain: Drain, wanted: Wanted) -> Iterator[Need]:
    more = wanted.replication - 1  # brokers, of which one was measured
    how = "{:,.0f} of each process to a single broker, and one to each other of as many brokers as replicas"
    to_kafka = edges(intake, wanted) * (intake.connections + more)
    yield Need("connections, edges to Kafka", to_kafka, "", how.format(intake.connections))
    workers = children(drain, wanted)
    to_kafka = workers * (drain.kafka_connections + more)
    yield Need("connections, workers to Kafka", to_kafka, "", how.format(drain.kafka_connections))
    how = f"{drain.postgres_connections:g} of each child; a web process has up to 18 more, beat one"
    yield Need("connections, workers to PostgreSQL", workers * drain.postgres_connections, "", how)


def _traffic(intake: Intake, drain: Drain, wanted: Wanted) -> Iterator[Need]:
    produced = wanted.todos_per_second * intake.record / MEGA
    yield Need("network, edges to Kafka", produced, "MB/s", f"rate x {intake.record:.0f} bytes of a record")
    how = "the same, replication - 1 times between brokers and once to the workers"
    yield Need("network, out of Kafka", produced * wanted.replication, "MB/s", how)
    wal = wanted.todos_per_second * drain.wal / MEGA
    yield Need("PostgreSQL's WAL", wal, "MB/s", f"rate x {drain.wal:.0f} bytes of a row; once more for each standby")


def _disks(intake: Intake, drain: Drain, wanted: Wanted) -> Iterator[Need]:
    rate = wanted.todos_per_second
    kafka = rate * intake.record * wanted.retention_hours * 3600 * wanted.replication / GIGA
    yield Need("Kafka's disk, all brokers", kafka, "GB", f"rate x record x {wanted.retention_hours:g} h x replication")
    a_day = rate * (drain.heap + drain.indexes) * DAY / GIGA
    how = f"rate x ({drain.heap:.0f} bytes of a row + {drain.indexes:.0f} of its index entries)"
    yield Need("PostgreSQL's disk, a day", a_day, "GB", how)
    yield Need(
        f"PostgreSQL's disk, {wanted.keep_days:g} days",
        a_day * wanted.keep_days,
        "GB",
        "a day x days, if no todo is deleted",
    )


def _limits(intake: Intake, drain: Drain, wanted: Wanted) -> Iterator[Limit]:
    busy = wanted.utilisation
    schedule = DEFAULTS[0]
    polls = PollOptions().time_budget_seconds / schedule.every_seconds
    yield Limit(intake.rate * busy, "one edge process", "more of them: they share nothing")
    yield Limit(drain.rate * busy, "one worker child", "more of them, and more polls at a time")
    yield Limit(polls * drain.rate * busy, f"the default schedule, {polls:g} polls at a time", "a shorter interval")
    yield Limit(PARTITIONS * drain.rate * busy, f"{PARTITIONS} partitions", "create_topics --partitions")
    yield Limit(MOST_POLLS * drain.rate * busy, f"one schedule, {MOST_POLLS} polls at a time", "a second schedule")
    of_connections = POSTGRES_CONNECTIONS / drain.postgres_connections * drain.rate * busy
    yield Limit(of_connections, "PostgreSQL's default of 100 connections", "max_connections")
    yield Limit(primary_rate(drain, wanted), "one PostgreSQL primary", "more of them: docs/scaling.md, shards")
    table = LARGEST_TABLE / (drain.heap * DAY * wanted.keep_days)
    yield Limit(table, f"32 TiB of one table in {wanted.keep_days:g} days", "a partitioned table, or fewer days")
