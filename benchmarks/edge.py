"""The edge alone: how many todos it takes, one by one and in batches, and how long a client waits."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from statistics import median

from benchmarks.client import Job
from benchmarks.contenders import Contenders
from benchmarks.measures import Goal, Measure
from benchmarks.options import Options
from benchmarks.world import OTHER_CORES, World, pinned

PART_OF_SATURATION, NAIVE_GOAL = 0.7, 100
BATCH_PATH, BATCH_SIZE, BATCH_CONNECTIONS = "/new/batch/", 1000, 8
BATCH_GOAL, BATCH_RATIO_GOAL = 25_000, 0.8


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
    if contenders.has(BATCH_PATH):
        yield _batches(contenders, job, rounds)
    else:
        yield Measure("batch POST, saturated", "todos/s", [0.0], goal=Goal(BATCH_GOAL, "ours"), note="not built yet")


def _saturation(contenders: Contenders, job: Job, rounds: int) -> Generator[Measure, None, tuple[float, float]]:
    """A closed loop. Returns our rate and that of the bare endpoint."""
    ours, guarded, bare, naive = [], [], [], []
    for number in range(rounds):
        ours.append(contenders.ours(replace(job, tag=f"closed {number}")))
        guarded.append(contenders.guarded(replace(job, tag=f"guarded {number}")).rate)
        bare.append(contenders.bare(job).rate)
        naive.append(contenders.naive(job).rate)
    rates = [result.rate for result in ours]
    cost = median(result.cpu_us_per_request for result in ours)
    raw = {"latencies_ms": [result.latencies for result in ours]}
    note = f"{job.connections} connections; the client took {cost:.1f} us of its own core per request"
    yield Measure("single POST, saturated", "todos/s", rates, bare, "bare", Goal(1.0), note, raw)
    note = (
        f"the goal allows a request {1e6 / NAIVE_GOAL / median(naive):.1f} us of one core; it takes"
        f" {1e6 / median(rates):.1f}, 21 to 25 of them inside uvicorn (see benchmarks/README.md, Profiles)"
    )
    yield Measure("single POST, saturated", "todos/s", rates, naive, "naive", Goal(NAIVE_GOAL), note)
    yield Measure("the same with tokens and limits", "todos/s", guarded, rates, "without")
    return median(rates), median(bare)


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


def _batches(contenders: Contenders, job: Job, rounds: int) -> Measure:
    """Met by either goal: the rate, or the part of what kafka-python alone can do."""
    job = replace(job, path=BATCH_PATH, batch=BATCH_SIZE, connections=BATCH_CONNECTIONS)
    ours, alone = [], []
    for number in range(rounds):
        ours.append(contenders.ours(replace(job, tag=f"batch {number}")).rate * BATCH_SIZE)
        alone.append(contenders.producer(max(BATCH_SIZE, int(job.seconds * BATCH_GOAL))))
    goal = Goal(BATCH_GOAL, "ours") if median(ours) >= BATCH_GOAL else Goal(BATCH_RATIO_GOAL)
    note = f"goal: {BATCH_GOAL:,} todos/s, or a ratio of {BATCH_RATIO_GOAL}"
    return Measure("batch POST, saturated", "todos/s", ours, alone, "kafka-python alone", goal, note)
