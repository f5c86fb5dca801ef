"""The edge alone: how many todos it takes, one by one and in batches, and how long a client waits."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from statistics import median
from typing import Any

from benchmarks.client import Job, Result
from benchmarks.contenders import Contenders
from benchmarks.measures import Goal, Measure
from benchmarks.options import Options
from benchmarks.world import OTHER_CORES, World, pinned

PART_OF_SATURATION = 0.7
BATCH_SIZE, BATCH_CONNECTIONS = 1000, 8


def run(world: World, options: Options) -> tuple[list[Measure], str]:
    contenders = Contenders(world)
    job = Job(connections=options.connections, seconds=options.seconds, warmup=options.warmup)
    with pinned(world.services.kafka, OTHER_CORES):
        measures = list(_measures(contenders, job, options.rounds))
    return measures, contenders.reconcile()


def _measures(contenders: Contenders, job: Job, rounds: int) -> Iterator[Measure]:
    ours, bare = yield from _saturation(contenders, job, rounds)
    rates = PART_OF_SATURATION * ours, PART_OF_SATURATION * bare
    yield from _waiting(contenders, *(replace(job, rate=rate) for rate in rates), rounds=rounds)
    yield from _batches(contenders, job, rounds)


def _saturation(contenders: Contenders, job: Job, rounds: int) -> Generator[Measure, None, tuple[float, float]]:
    """A closed loop. Returns our rate and that of the bare endpoint."""
    ours, guarded, bare, peer = [], [], [], []
    for number in range(rounds):
        ours.append(contenders.ours(replace(job, tag=f"closed {number}")))
        guarded.append(contenders.guarded(replace(job, tag=f"guarded {number}")))
        bare.append(contenders.bare(job))
        peer.append(contenders.aiokafka(replace(job, tag=f"aiokafka {number}")))
    cost = median(result.cpu_us_per_request for result in ours)
    raw = {"latencies_ms": [result.latencies for result in ours]}
    note = f"{job.connections} connections; the client took {cost:.1f} us of its own core per request"
    name = "single POST, saturated"
    yield from _compared(name, ours, bare, "bare", Goal(1.5), note, raw)
    yield from _compared(name, ours, peer, "aiokafka", Goal(2.5))
    yield from _compared("the same with tokens and limits", guarded, ours, "without")
    return median(result.rate for result in ours), median(result.rate for result in bare)


def _compared(
    name: str,
    ours: list[Result],
    theirs: list[Result],
    whose: str,
    goal: Goal | None = None,
    note: str = "",
    raw: dict[str, Any] | None = None,
    batch: int = 1,
) -> Iterator[Measure]:
    """Their rates, and the processor time that the servers took meanwhile."""
    rates = [result.rate * batch for result in ours], [result.rate * batch for result in theirs]
    yield Measure(name, "todos/s", *rates, whose, goal, note, raw or {})
    costs = [result.server_us for result in ours], [result.server_us for result in theirs]
    yield Measure(f"{name}: the server's processor time", "us/todo", *costs, whose)


def _waiting(contenders: Contenders, our_job: Job, bare_job: Job, *, rounds: int) -> Iterator[Measure]:
    """An open loop, each contender at the same part of what saturates it."""
    ours, bare = [], []
    for number in range(rounds):
        ours.append(contenders.ours(replace(our_job, tag=f"open {number}", seed=number)).latencies)
        bare.append(contenders.bare(replace(bare_job, seed=number)).latencies)
    note = f"{our_job.rate:,.0f} requests/s, bare {bare_job.rate:,.0f}, for {our_job.seconds:g} s a round"
    for rank, goal in (("p50", None), ("p99", Goal(50, "ours", at_most=True)), ("max", None)):
        name = f"single POST at {PART_OF_SATURATION:.0%} of that: {rank}"
        sides = [each[rank] for each in ours], [each[rank] for each in bare]
        yield Measure(name, "ms", *sides, "bare", goal, note if goal else "")


def _batches(contenders: Contenders, job: Job, rounds: int) -> Iterator[Measure]:
    job = replace(job, path="/new/batch/", batch=BATCH_SIZE, connections=BATCH_CONNECTIONS)
    ours, peer = [], []
    for number in range(rounds):
        ours.append(contenders.ours(replace(job, tag=f"batch {number}")))
        peer.append(contenders.aiokafka(replace(job, tag=f"batch of aiokafka {number}")))
    note = f"{BATCH_SIZE:,} todos each, {BATCH_CONNECTIONS} connections"
    yield from _compared("batch POST, saturated", ours, peer, "aiokafka", Goal(4), note, batch=BATCH_SIZE)
