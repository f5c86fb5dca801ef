"""What `scaling` runs: edges that take todos, children that drain a backlog, and both at the same time."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace

from benchmarks import load
from benchmarks.backlog import Watch, fill
from benchmarks.client import Job
from benchmarks.drain import check_exact, empty
from benchmarks.meter import connections, core_seconds, since
from benchmarks.options import Options
from benchmarks.scaling_measures import CHILDREN, PARTITIONS, Delay, Window
from benchmarks.world import NotReconciled, World
from devstack.ports import free_port
from devstack.process import Process
from tests.support.stack import Stack, children
from tests.support.waiting import eventually

MIDDLE = 0.1, 0.9  # of a drain: what starts and ends is not what goes on for hours
LOOK_SECONDS = 0.02
DELAYS = """
    SELECT percentile_cont(ARRAY[0.05, 0.5]) WITHIN GROUP (ORDER BY extract(epoch FROM stored_at - created_at))
    FROM todos_todo WHERE created_at >= to_timestamp(%s)
"""
# From one transaction of a poll to its next.
GAP = """
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY gap) FROM (
        SELECT extract(epoch FROM created_at - lag(created_at) OVER (PARTITION BY task_id ORDER BY created_at)) AS gap
        FROM (SELECT DISTINCT task_id, created_at FROM todos_batch
              WHERE first_offset IS NOT NULL AND created_at >= to_timestamp(%s)) AS transactions) AS gaps
"""
THROUGH = """
    SELECT count(*), extract(epoch FROM max(stored_at) - min(created_at))
    FROM todos_todo WHERE created_at >= to_timestamp(%s)
"""


class Runs:
    def __init__(self, world: World, options: Options) -> None:
        self.world, self.options = world, options
        self.kafka, self.postgres = world.services.kafka.process, world.services.postgres.process
        self.intake_stack = world.stack()
        template = self.intake_stack.name
        self.drain_stacks = {number: world.stack(partitions=number, template=template) for number in PARTITIONS}
        self.flow_stack = world.stack(template=template)
        for stack in self.drain_stacks.values():
            fill(stack, options.scaling_rows)
        self.acknowledged = 0

    # --- The edge alone

    def intake(self, edges: int, job: Job) -> Window:
        """A closed loop, whose connections the edges share."""
        ports = [free_port() for _ in range(edges)]
        started = [self.intake_stack.edge(f"edge{n}", port=port) for n, port in enumerate(ports)]
        shares = [
            replace(job, port=port, connections=job.connections // edges, seconds=job.seconds + 1, tag=f"todo {port}")
            for port in ports
        ]
        before = self._held()
        clients = [load.Client(share) for share in shares]
        try:
            window = self._intake_window(started, job, before)
            results = [client.result() for client in clients]
        finally:
            for client in clients:
                client.close()
            for edge in started:
                edge.stop()
        self._count(sum(result.ids for result in results), before)
        return window

    def _intake_window(self, edges: list[Process], job: Job, before: int) -> Window:
        eventually(lambda: self._held() > before, seconds=30, what="the first todo", every=LOOK_SECONDS)
        time.sleep(job.warmup)
        size = self._log_bytes()
        window = self._window({"edge": edges, "kafka": [self.kafka]}, self._held, lambda: time.sleep(job.seconds))
        links = connections(edges[0], self.world.services.kafka.port)
        window.extra = {"record": (self._log_bytes() - size) / window.count, "connections": links}
        return window

    def _held(self) -> int:
        return sum(self.intake_stack.end_offsets().values())

    def _log_bytes(self) -> int:
        logs = self.world.services.kafka.directory.glob(f"apache/{self.intake_stack.kafka.topic}-*/*.log")
        return sum(log.stat().st_size for log in logs)

    def _count(self, acknowledged: int, before: int) -> None:
        if (held := self._held() - before) != acknowledged:
            raise NotReconciled(f"{acknowledged} acknowledged, Kafka holds {held} more")
        self.acknowledged += acknowledged

    # --- The drain alone

    def drain(self, concurrency: int, partitions: int) -> Window:
        """The middle of a backlog's drain."""
        stack = self.drain_stacks[partitions]
        empty(stack)
        stack.schedule(every_seconds=1, time_budget_seconds=60)
        worker = stack.worker(concurrency=concurrency)
        beat = stack.beat()
        try:
            with closing(Watch(stack.database_url, stack.kafka.topic)) as watch:
                window = self._drain_window(worker, watch)
            stack.wait_until_drained(seconds=60)
        finally:
            beat.stop()
            worker.stop()
        check_exact(stack, self.options.scaling_rows)
        return self._with_sizes(stack, window)

    def _drain_window(self, worker: Process, watch: Watch) -> Window:
        first, last = (share * self.options.scaling_rows for share in MIDDLE)

        def reached(rows: float) -> None:
            eventually(lambda: _rows(watch) >= rows, seconds=120, what="rows", every=LOOK_SECONDS)

        reached(first)
        wal = watch.wal()
        parties = {"worker": [worker], "postgres": [self.postgres], "kafka": [self.kafka]}
        window = self._window(parties, lambda: _rows(watch), lambda: reached(last))
        busy, ports = len(children(worker)), self.world.services
        window.extra = {
            "wal": (watch.wal() - wal) / window.count,
            "kafka_connections": connections(worker, ports.kafka.port) / busy,
            "postgres_connections": connections(worker, ports.postgres.port) / busy,
        }
        return window

    def _with_sizes(self, stack: Stack, window: Window) -> Window:
        ((heap, indexes),) = stack.rows("SELECT pg_relation_size('todos_todo'), pg_indexes_size('todos_todo')")
        rows = self.options.scaling_rows
        window.extra = {**window.extra, "heap": heap / rows, "indexes": indexes / rows}
        return window

    # --- Both, on the default schedule

    @contextmanager
    def flow(self) -> Iterator[None]:
        """Meanwhile edge, beat and two children run."""
        stack = self.flow_stack
        worker = stack.worker(concurrency=CHILDREN)
        started = [worker, stack.beat(), stack.edge()]
        self._parties = {"worker": [worker], "postgres": [self.postgres], "kafka": [self.kafka]}
        eventually(lambda: stack.count("poller") == CHILDREN, seconds=60, what="as many polls as children")
        yield
        for process in started:
            process.stop()

    def delay(self, rate: float) -> Delay:
        """An open loop."""
        began, window = self._flow(Job(rate=rate, seconds=self.options.seconds, warmup=0, tag=f"delay {rate}"))
        began += self.options.warmup
        ((least, p50),) = (values for (values,) in self.flow_stack.rows(DELAYS, began))
        ((gap,),) = self.flow_stack.rows(GAP, began)
        return Delay(float(least), float(p50), float(gap), window)

    def through(self, job: Job) -> float:
        """A closed loop; todos a second until the last one is stored."""
        began, _ = self._flow(job)
        ((count, seconds),) = self.flow_stack.rows(THROUGH, began)
        return int(count) / float(seconds)

    def _flow(self, job: Job) -> tuple[float, Window]:
        """When it began, and what its load took, once everything is stored."""
        stack, before, began = self.flow_stack, self.flow_stack.count("todo"), time.time()
        used = core_seconds(self._parties)
        ids = load.run(replace(job, port=stack.edge_port)).ids
        window = Window(ids, job.warmup + job.seconds, since(used, core_seconds(self._parties)))
        stack.wait_until_drained(seconds=120)
        if (stored := stack.count("todo") - before) != ids:
            raise NotReconciled(f"{ids} acknowledged, {stored} stored")
        self.acknowledged += ids
        return began, window

    # ---

    def _window(
        self, parties: Mapping[str, list[Process]], count: Callable[[], int], wait: Callable[[], None]
    ) -> Window:
        counted, used, started = count(), core_seconds(parties), time.monotonic()
        wait()
        more, seconds = count() - counted, time.monotonic() - started
        return Window(more, seconds, since(used, core_seconds(parties)))


def _rows(watch: Watch) -> int:
    return sum(watch.ledger()[0].values())
