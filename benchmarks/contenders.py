"""The HTTP servers of the edge's measures, each one a fresh process on the same core, and what they told the client."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from benchmarks import load
from benchmarks.client import Job, Result
from benchmarks.meter import tree_seconds
from benchmarks.world import EDGE_CORES, OTHER_CORES, NotReconciled, World, started_on
from devstack.environment import ROOT
from devstack.ports import free_port
from devstack.process import Process
from edge_api.contract.tokens import as_jwk
from tests.support.stack import Stack, answers
from tests.support.waiting import eventually
from todos.tokens.keys import known_keys


class Contenders:
    """Counts what was acknowledged, to be compared with Kafka and PostgreSQL at the end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stack, self.peer_stack = world.stack(), world.stack()
        self.acknowledged: Counter[Stack] = Counter()

    def ours(self, job: Job, env: Mapping[str, str] | None = None) -> Result:
        """Raises NotReconciled unless each todo was acknowledged with an id of its own; `aiokafka` too."""
        with self._edge(env) as (edge, port):
            return self._accepted(self.stack, job, _load(edge, port, job))

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
        with self._baseline("bare", {}) as (server, port):
            return _load(server, port, job)

    def aiokafka(self, job: Job) -> Result:
        with self._baseline("aiokafka_edge", self.peer_stack.env) as (server, port):
            return self._accepted(self.peer_stack, job, _load(server, port, job))

    def _accepted(self, stack: Stack, job: Job, result: Result) -> Result:
        todos = result.sent * (job.batch or 1)
        if not todos == result.ids == result.distinct_ids:
            raise NotReconciled(f"{todos} todos sent, {result.ids} ids, {result.distinct_ids} of them different")
        self.acknowledged[stack] += todos
        return result

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
    def _edge(self, env: Mapping[str, str] | None = None) -> Iterator[tuple[Process, int]]:
        try:
            with started_on(EDGE_CORES):
                edge = self.stack.edge(env=env)
            yield edge, self.stack.edge_port
        finally:
            edge.stop()

    @contextmanager
    def _baseline(self, module: str, env: Mapping[str, str]) -> Iterator[tuple[Process, int]]:
        port = free_port()
        command = [sys.executable, "-m", f"benchmarks.baselines.{module}", str(port)]
        process = Process(module, command, log=self.world.folder / f"{module}.log", env=env, cwd=ROOT)
        try:
            with started_on(EDGE_CORES):
                process.start()
            eventually(partial(answers, f"http://127.0.0.1:{port}/docs"), seconds=60, what=f"{module} to answer")
            yield process, port
        finally:
            process.stop()


def _load(server: Process, port: int, job: Job) -> Result:
    before = tree_seconds(server)
    result = load.run(replace(job, port=port, cores=OTHER_CORES))
    seconds = tree_seconds(server) - before
    return replace(result, server_us=seconds / (result.sent * (job.batch or 1)) * 1e6)
