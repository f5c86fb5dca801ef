"""The edge alone: how many todos it takes, one by one and in batches, and how long a client waits."""

import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median

import httpx

from benchmarks import load
from benchmarks.client import Job, Result
from benchmarks.measures import Goal, Measure
from benchmarks.options import Options
from benchmarks.world import EDGE_CORES, OTHER_CORES, NotReconciled, World, pinned, run_module, started_on
from devstack.environment import ROOT
from devstack.ports import free_port
from devstack.process import Process
from tests.support.stack import Stack, answers

NAIVE_CONNECTIONS = 32  # beyond its 40 threads requests would only queue
BATCH_CONNECTIONS, BATCH_SIZE = 8, 1000
BATCH_PATH = "/new/batch/"
PARTS_OF_SATURATION = 0.7


class Edge:
    """Counts what every client of ours was told, to be compared with Kafka and PostgreSQL at the end."""

    def __init__(self, world: World, options: Options) -> None:
        self.world, self.options = world, options
        self.stack, self.naive_stack, self.producer_stack = world.stack(), world.stack(), world.stack()
        self.accepted: Counter[str] = Counter()

    # --- Contenders: each one a fresh process on the same core

    @contextmanager
    def ours(self) -> Iterator[int]:
        with started_on(EDGE_CORES):
            edge = self.stack.edge()
        yield self.stack.edge_port
        edge.stop()

    @contextmanager
    def baseline(self, module: str, env: dict[str, str]) -> Iterator[int]:
        port = free_port()
        command = [sys.executable, "-m", f"benchmarks.baselines.{module}", str(port)]
        process = Process(module, command, log=self.world.folder / f"{module}.log", env=env, cwd=ROOT)
        with started_on(EDGE_CORES):
            process.start()
        try:
            process.wait_ready(partial(answers, f"http://127.0.0.1:{port}/docs"), seconds=30)
            yield port
        finally:
            process.stop()

    def post_to_ours(self, name: str, **job: object) -> Result:
        with self.ours() as port:
            result = load.run(self.job(port, tag=name, **job))
        wanted = result.sent * int(job.get("batch", 0) or 1)  # type: ignore[call-overload]
        if not wanted == result.ids == result.distinct_ids:
            raise NotReconciled(f"{wanted} todos sent, {result.ids} ids, {result.distinct_ids} of them different")
        self.accepted["ours"] += result.ids
        return result

    def post_to_bare(self, **job: object) -> Result:
        with self.baseline("bare", {}) as port:
            return load.run(self.job(port, **job))

    def post_to_naive(self) -> Result:
        with self.baseline("naive_edge", self.naive_stack.env) as port:
            result = load.run(self.job(port, connections=NAIVE_CONNECTIONS))
        self.accepted["naive"] += result.ids
        return result

    def produce(self) -> float:
        """Todos per second of kafka-python alone."""
        count = max(BATCH_SIZE, int(self.options.seconds * 20_000))
        with started_on(EDGE_CORES):
            seconds = run_module("kafka_produce", count, env=self.producer_stack.env)
        self.accepted["producer"] += count
        return float(count / seconds)

    def job(self, port: int, **job: object) -> Job:
        o = self.options
        fixed = {"connections": o.connections, "seconds": o.seconds, "warmup": o.warmup, "cores": OTHER_CORES}
        return Job(port=port, **{**fixed, **job})  # type: ignore[arg-type]

    # --- Measures

    def measure(self) -> Iterator[Measure]:
        saturation = yield from self.saturation()
        yield from self.waiting(PARTS_OF_SATURATION * saturation)
        yield from self.batches()

    def saturation(self) -> Generator[Measure, None, float]:
        ours, bare, naive, cost = [], [], [], []
        for number in range(self.options.rounds):
            result = self.post_to_ours(f"closed {number}")
            ours.append(result.rate)
            cost.append(result.cpu_us_per_request)
            bare.append(self.post_to_bare().rate)
            naive.append(self.post_to_naive().rate)
        note = f"the client took {median(cost):.1f} us of its own core per request"
        yield Measure("single POST, saturated", "todos/s", ours, bare, "bare", Goal(1.0), note)
        yield Measure("single POST, saturated", "todos/s", ours, naive, "naive", Goal(100))
        return median(ours)

    def waiting(self, rate: float) -> Iterator[Measure]:
        """An open loop at a part of the saturation."""
        ours, bare = [], []
        for number in range(self.options.rounds):
            ours.append(self.post_to_ours(f"open {number}", rate=rate, seed=number).latencies)
            bare.append(self.post_to_bare(rate=rate, seed=number).latencies)
        share = f"{PARTS_OF_SATURATION:.0%} of saturation"
        for rank, goal in (("p50", None), ("p99", Goal(50, "ours", at_most=True)), ("max", None)):
            sides = [each[rank] for each in ours], [each[rank] for each in bare]
            yield Measure(f"single POST, {share}: {rank}", "ms", *sides, "bare", goal, f"{rate:,.0f} requests/s")

    def batches(self) -> Iterator[Measure]:
        if not self.takes_batches():
            return
        ours, alone = [], []
        for number in range(self.options.rounds):
            result = self.post_to_ours(
                f"batch {number}", path=BATCH_PATH, batch=BATCH_SIZE, connections=BATCH_CONNECTIONS
            )
            ours.append(result.rate * BATCH_SIZE)
            alone.append(self.produce())
        enough = median(ours) >= 25_000
        goal = Goal(25_000, "ours") if enough else Goal(0.8)
        note = "goal: 25,000 todos/s, or 0.8 of kafka-python alone"
        yield Measure("batch POST, saturated", "todos/s", ours, alone, "kafka-python alone", goal, note)

    def takes_batches(self) -> bool:
        with self.ours() as port:
            return httpx.post(f"http://127.0.0.1:{port}{BATCH_PATH}", json=[]).status_code != httpx.codes.NOT_FOUND

    # --- Reconciliation

    def reconcile(self) -> str:
        stacks = {"ours": self.stack, "naive": self.naive_stack, "producer": self.producer_stack}
        held = {name: sum(stack.end_offsets().values()) for name, stack in stacks.items()}
        expected = {name: self.accepted[name] for name in stacks}
        if held != expected:
            raise NotReconciled(f"acknowledged {expected}, Kafka holds {held}")
        stored = drained(self.stack, held["ours"])
        if stored != held["ours"]:
            raise NotReconciled(f"Kafka holds {held['ours']}, stored are {stored}")
        return f"{stored:,} acknowledged = in Kafka = stored; naive {held['naive']:,} = in Kafka"


def drained(stack: Stack, backlog: int) -> int:
    stack.worker(concurrency=1)
    stack.beat()
    stack.wait_until_drained(seconds=60 + backlog / 2000)
    return stack.count("todo")


def run(world: World, options: Options) -> tuple[list[Measure], str]:
    edge = Edge(world, options)
    with pinned(world.services.kafka, OTHER_CORES):
        measures = list(edge.measure())
    return measures, edge.reconcile()
