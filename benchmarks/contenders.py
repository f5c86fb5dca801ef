"""The HTTP servers of the edge's measures, each one a fresh process on the same core, and what they told the client."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import httpx

from benchmarks import load
from benchmarks.client import Job, Result
from benchmarks.world import EDGE_CORES, OTHER_CORES, NotReconciled, World, run_module, started_on
from devstack.environment import ROOT
from devstack.ports import free_port
from devstack.process import Process
from edge_api.contract.tokens import as_jwk
from tests.support.stack import Stack, answers
from tests.support.waiting import eventually
from todos.tokens.keys import known_keys

NAIVE_CONNECTIONS = 32  # it has 40 threads, beyond which requests only queue


class Contenders:
    """Counts what was acknowledged, to be compared with Kafka and PostgreSQL at the end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stack, self.naive_stack, self.producer_stack = world.stack(), world.stack(), world.stack()
        self.acknowledged: Counter[Stack] = Counter()

    def ours(self, job: Job, env: Mapping[str, str] | None = None) -> Result:
        """Raises NotReconciled unless each todo was acknowledged with an id of its own."""
        with self._edge(env) as port:
            result = load.run(replace(job, port=port, cores=OTHER_CORES))
        todos = result.sent * (job.batch or 1)
        if not todos == result.ids == result.distinct_ids:
            raise NotReconciled(f"{todos} todos sent, {result.ids} ids, {result.distinct_ids} of them different")
        self.acknowledged[self.stack] += todos
        return result

    def guarded(self, job: Job) -> Result:
        """Our edge as it stands in production: whoever sends is signed in, and counted by both limits and by Redis."""
        with self.stack.django():
            keys = [as_jwk(kid, key) for kid, key in known_keys().items()]
        (keys_file := self.world.folder / "jwks.json").write_text(json.dumps({"keys": keys}))
        env = {
            "EDGE_AUTH": "token",
            "EDGE_JWKS": str(keys_file),
            "EDGE_RATE_LIMIT_PER_OWNER": "1000000",
            "EDGE_RATE_LIMIT_PER_ADDRESS": "1000000",
            "EDGE_REDIS_URL": self.stack.redis_url,
        }
        return self.ours(replace(job, token=self.stack.token(self.stack.user())), env)

    def bare(self, job: Job) -> Result:
        with self._baseline("bare", {}) as port:
            return load.run(replace(job, port=port, cores=OTHER_CORES))

    def naive(self, job: Job) -> Result:
        with self._baseline("naive_edge", self.naive_stack.env) as port:
            result = load.run(replace(job, port=port, cores=OTHER_CORES, connections=NAIVE_CONNECTIONS))
        self.acknowledged[self.naive_stack] += result.ids
        return result

    def producer(self, count: int) -> float:
        """Todos per second of kafka-python alone."""
        with started_on(EDGE_CORES):
            seconds = run_module("kafka_produce", count, env=self.producer_stack.env)
        self.acknowledged[self.producer_stack] += count
        return float(count / seconds)

    def has(self, path: str) -> bool:
        """Whether our edge knows the path at all."""
        with self._edge() as port:
            return httpx.post(f"http://127.0.0.1:{port}{path}", json=[]).status_code != httpx.codes.NOT_FOUND

    def reconcile(self) -> str:
        """Drains what our edge acknowledged with a real worker."""
        for stack, count in self.acknowledged.items():
            if (held := sum(stack.end_offsets().values())) != count:
                raise NotReconciled(f"{count} acknowledged, Kafka holds {held}")
        todos = self.acknowledged[self.stack]
        self.stack.worker(concurrency=1)
        self.stack.beat()
        self.stack.wait_until_drained(seconds=60 + todos / 1000)
        if (stored := self.stack.count("todo")) != todos:
            raise NotReconciled(f"{todos} in Kafka, {stored} stored")
        return f"{todos:,} acknowledged = in Kafka = stored"

    @contextmanager
    def _edge(self, env: Mapping[str, str] | None = None) -> Iterator[int]:
        try:
            with started_on(EDGE_CORES):
                edge = self.stack.edge(env=env)
            yield self.stack.edge_port
        finally:
            edge.stop()

    @contextmanager
    def _baseline(self, module: str, env: Mapping[str, str]) -> Iterator[int]:
        port = free_port()
        command = [sys.executable, "-m", f"benchmarks.baselines.{module}", str(port)]
        process = Process(module, command, log=self.world.folder / f"{module}.log", env=env, cwd=ROOT)
        try:
            with started_on(EDGE_CORES):
                process.start()
            eventually(partial(answers, f"http://127.0.0.1:{port}/docs"), seconds=60, what=f"{module} to answer")
            yield port
        finally:
            process.stop()
