"""Everything a fault can strike: real services, an edge, a web process, two workers and two beats."""

import json
import os
import pwd
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import psutil
from django.contrib.auth.models import User
from pytest_django import DjangoDbBlocker

from devstack import Kafka, Postgres, Valkey
from devstack.brokers import Brokers
from devstack.jars import find_java
from devstack.process import Process
from devstack.service import Service
from tests.chaos.background import Supervisor, Watcher
from tests.chaos.evidence import RECORD_MOVES
from tests.chaos.journal import Accepted, Journal
from tests.chaos.load import Load
from tests.chaos.probe import ProbeWatcher
from tests.support.stack import START_SECONDS, Services, Stack, children, create_template
from tests.support.traffic import Sent
from tests.support.waiting import eventually

WORKERS, BEATS = ("worker one", "worker two"), ("beat one", "beat two")
PARTITIONS = 6
BROKEN = {"CHAOS_LEDGER_OUTSIDE_TRANSACTION": "yes"}  # for the workers: the ledger moves outside the transaction
TABLESPACE_BYTES = 1 << 30
QUIET_SECONDS, OTHERS_SECONDS, READ_SECONDS = 60.0, 30.0, 30.0


def foreign_title(todo_id: str) -> str:
    """As tests.support.traffic gives it."""
    return f"todo {todo_id}"


@dataclass
class World:
    services: Services
    stack: Stack
    supervisor: Supervisor
    journal: Journal
    load: Load
    probe: ProbeWatcher
    session: dict[str, str]  # the cookie of an operator who is signed in to the admin
    points: Path
    disk: Path | None  # a small file system of its own below the table of todos; None where none can be made
    rng: random.Random

    def process(self, kind: str) -> Process:
        """The edge, or one of the two workers or beats."""
        return self.stack.processes[self.rng.choice({"edge": ("edge",), "worker": WORKERS, "beat": BEATS}[kind])]

    def program(self, kind: str) -> psutil.Process:
        return running(self.process(kind))

    def worker_child(self) -> psutil.Process:
        worker = self.process("worker")
        running(worker)
        return self.rng.choice(eventually(lambda: children(worker), seconds=START_SECONDS, what="a worker's children"))

    def service(self, kind: str) -> Service:
        services: dict[str, Service] = {
            "broker": self.services.kafka,
            "postgres": self.services.postgres,
            "valkey": self.services.valkey,
        }
        return services[kind]

    def nodes(self) -> list[Kafka]:
        """The brokers, or the only one."""
        kafka = self.services.kafka
        return kafka.nodes if isinstance(kafka, Brokers) else [kafka]

    def accept(self, sent: Sent) -> None:
        """Todos that another producer put into Kafka count as acknowledged too."""
        for todo_id in sent.ids:
            self.journal.accept(Accepted(todo_id, foreign_title(todo_id), time.time(), -1, -1))

    @contextmanager
    def nothing_in_flight(self) -> Iterator[None]:
        """Meanwhile no todo is sent, and all that were acknowledged are stored."""
        with self.load.paused():
            eventually(lambda: not self.journal.waiting(), seconds=QUIET_SECONDS, what="all todos to be stored")
            yield

    def wait_for_others(self, partition: int) -> None:
        """Assert that all other partitions continue."""
        now = time.time()
        eventually(
            lambda: self.journal.is_caught_up(now, apart_from=partition),
            seconds=OTHERS_SECONDS,
            what=f"the partitions other than {partition} to advance",
        )

    # --- What an operator does

    def manage(self, *arguments: str) -> str:
        """The output of a command that must succeed."""
        done = self.stack.manage(*arguments)
        assert not done.returncode, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        """What `pipeline_status` says; empty where it says nothing in time."""
        try:
            shown: dict[str, Any] = json.loads(
                self.stack.manage("pipeline_status", "--json", seconds=READ_SECONDS).stdout
            )
        except (subprocess.TimeoutExpired, ValueError):
            return {}
        return shown

    def page(self) -> str:
        """The admin's first page as the operator sees it; empty where none comes in time."""
        try:
            return httpx.get(f"{self.stack.web_url}/admin/", cookies=self.session, timeout=READ_SECONDS).text
        except httpx.TransportError:
            return ""

    def halted_partitions(self) -> list[int]:
        """Ask until `pipeline_status` answers: on a busy machine one call may say nothing in time."""
        status = eventually(self.status, seconds=3 * READ_SECONDS, what="pipeline_status to answer")
        return [row["partition"] for row in status["partitions"] if row["alarm"]]


def running(process: Process) -> psutil.Process:
    """Waits for the supervisor, should it just have ended."""
    return psutil.Process(eventually(lambda: process.pid, seconds=START_SECONDS, what=f"{process.name} to run"))


@contextmanager
def own_services(folder: Path, blocker: DjangoDbBlocker, *, brokers: int) -> Iterator[tuple[Services, str]]:
    """Services that a fault may strike, and the name of a migrated database to copy.

    At the end all of them are killed, because no later run reads their data.
    """
    kafka = Brokers(folder / "kafka", count=brokers) if brokers > 1 else Kafka(folder / "kafka")
    services = Services(Postgres(folder / "postgres"), Valkey(folder / "valkey"), kafka)
    with ExitStack() as ending:
        for service in services:
            ending.callback(service.kill)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda service: service.launch(), services))
        services.postgres.wait_ready()
        with redirect_stdout(StringIO()):
            template = create_template(services.postgres, blocker)  # while Kafka starts
        for service in services:
            service.wait_ready()
        yield services, template


@contextmanager
def running_world(
    services: Services,
    template: str,
    folder: Path,
    blocker: DjangoDbBlocker,
    *,
    seed: int,
    rate: float,
    env: dict[str, str] | None = None,
    wants_disk: bool = False,
) -> Iterator[World]:
    """Starts the programs, with `env` for the workers, and ends them, whatever happens."""
    (points := folder / "points").mkdir()
    with ExitStack() as ending:
        disk = _mount_disk(folder / "disk", ending) if wants_disk else None
        with redirect_stdout(StringIO()):
            stack = Stack(services, folder, blocker, partitions=PARTITIONS, template=template)
        ending.callback(stack.stop)
        if disk:
            stack.rows(f"CREATE TABLESPACE chaos LOCATION '{disk}'")
            stack.rows("ALTER TABLE todos_todo SET TABLESPACE chaos")
        stack.rows(RECORD_MOVES)
        stack.schedule(every_seconds=5)  # the batches are as large as production's, and so read ahead
        points_env = {"CHAOS_POINTS": str(points)}
        _start_programs(stack, workers=points_env | (env or {}), beats=points_env)
        journal = Journal()
        probe = ProbeWatcher(stack.web_url, journal)
        supervisor = ending.enter_context(Supervisor(stack.processes))
        ending.enter_context(Watcher(stack.database_url, journal))
        ending.enter_context(probe)
        load = Load(stack.edge_url, journal, rate=rate)
        rng = random.Random(seed)
        yield World(services, stack, supervisor, journal, load, probe, _sign_in(stack), points, disk, rng)


def _sign_in(stack: Stack) -> dict[str, str]:
    with stack.django():
        operator = User.objects.create_superuser("operator")
    return stack.session(operator)


def _start_programs(stack: Stack, *, workers: dict[str, str], beats: dict[str, str]) -> None:
    """All at once: each waits for its own start only."""
    starts: list[Callable[[], Process]] = [stack.edge, stack.web]
    starts += [partial(stack.beat, name, app="tests.chaos.faulty_beat", env=beats) for name in BEATS]
    starts += [partial(stack.worker, name, app="tests.chaos.faulty_worker", env=workers) for name in WORKERS]
    with ThreadPoolExecutor() as pool:
        for started in [pool.submit(start) for start in starts]:
            started.result()


def why_no_java() -> str | None:
    return None if find_java() else "needs Apache Kafka, and so Java"


def why_no_disk() -> str | None:
    """Why no file system of its own can be mounted here; None where it can."""
    if os.geteuid() != 0:
        return "only root can mount a small file system"
    with tempfile.TemporaryDirectory() as probe, ExitStack() as ending:
        return None if _mount_disk(Path(probe), ending) else "a small file system cannot be mounted here"


def _mount_disk(folder: Path, ending: ExitStack) -> Path | None:
    """PostgreSQL runs as `nobody` where the suite is root, see devstack.postgres."""
    folder.mkdir(exist_ok=True)
    owner = pwd.getpwnam("nobody")
    options = f"size={TABLESPACE_BYTES},mode=700,uid={owner.pw_uid},gid={owner.pw_gid}"
    command = ["mount", "-t", "tmpfs", "-o", options, "todo-chaos", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return None
    ending.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=False)
    return folder


def resize_disk(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True, capture_output=True)
