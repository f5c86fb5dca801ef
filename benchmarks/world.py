"""The services of a run, where each process may run, and the pipelines upon them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
from pytest_django import DjangoDbBlocker

import benchmarks.environment  # noqa: F401 - before the imports below
from devstack import Kafka, Postgres, Valkey
from devstack.environment import ROOT, STATE
from devstack.process import Process
from devstack.service import Service
from tests.support.stack import Services, Stack, query

CORES = sorted(os.sched_getaffinity(0))
EDGE_CORES = CORES[:1]  # of whoever answers HTTP
OTHER_CORES = CORES[1:] or CORES  # of the client and of Kafka
REQUIRED = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
SHOWN = (*REQUIRED, "shared_buffers", "wal_level", "max_wal_size", "server_version")


class NotReconciled(Exception):
    """What was acknowledged, what Kafka holds and what is stored are not the same; no number of this run counts."""


class World:
    def __init__(self, services: Services, folder: Path, ending: ExitStack) -> None:
        self.services, self.folder, self._ending = services, folder, ending

    def stack(self, *, partitions: int = 6, template: str = "") -> Stack:
        """A pipeline with a database and a topic of its own, migrated as shipped; stopped with the world.

        `template` is the name of another one, which is still as it was made: copying is quicker than migrating.
        """
        with redirect_stdout(StringIO()):
            blocker = DjangoDbBlocker(_ispytest=True)
            stack = Stack(self.services, self.folder, blocker, partitions=partitions, template=template)
        self._ending.callback(stack.stop)
        return stack

    def postgres_settings(self) -> dict[str, str]:
        """Raises NotReconciled where a commit would not be durable."""
        url = self.services.postgres.url
        shown = {name: str(query(url, f"SHOW {name}")[0][0]) for name in SHOWN}
        if wrong := {name: shown[name] for name, value in REQUIRED.items() if shown[name] != value}:
            raise NotReconciled(f"PostgreSQL is not durable: {wrong}")
        return shown


@contextmanager
def running_world() -> Iterator[World]:
    """Ends everything, whatever happens. On the project's disk: /tmp may be memory, where an fsync costs nothing."""
    STATE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="benchmarks-", dir=STATE))
    folder.chmod(0o755)
    services = Services(Postgres(folder / "postgres"), Valkey(folder / "valkey"), Kafka(folder / "kafka"))
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        for service in services:
            ending.callback(service.stop)
            service.launch()
        for service in services:
            service.wait_ready()
        yield World(services, folder, ending)


@contextmanager
def started_on(cores: list[int]) -> Iterator[None]:
    """Whatever is started meanwhile runs on these cores only."""
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


@contextmanager
def pinned(service: Service, cores: list[int]) -> Iterator[None]:
    """A service that runs already, with all its threads."""
    _pin(service.process, cores)
    try:
        yield
    finally:
        _pin(service.process, CORES)


def _pin(process: Process, cores: list[int]) -> None:
    for thread in psutil.Process(process.pid).threads():
        os.sched_setaffinity(thread.id, cores)


def run_module(name: str, *arguments: object, env: Mapping[str, str]) -> Any:
    """A baseline that prints its result as JSON."""
    command = [sys.executable, "-m", f"benchmarks.baselines.{name}", *map(str, arguments)]
    done = subprocess.run(  # noqa: S603 - ours
        command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=900, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout)
