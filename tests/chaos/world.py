"""Everything a fault can strike: real services, an edge, two workers and two beats."""

import os
import pwd
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import psutil
from pytest_django import DjangoDbBlocker

from devstack import Kafka, Postgres, Valkey
from devstack.brokers import Brokers
from devstack.jars import find_java
from devstack.process import Process
from devstack.service import Service
from tests.chaos.background import Supervisor, Watcher
from tests.chaos.evidence import RECORD_MOVES
from tests.chaos.journal import Accepted, Journal
from tests.support.stack import START_SECONDS, Services, Stack, children
from tests.support.traffic import Sent
from tests.support.waiting import eventually

WORKERS, BEATS = ("worker one", "worker two"), ("beat one", "beat two")
PARTITIONS = 6
TABLESPACE_BYTES = 1 << 30


def foreign_title(todo_id: str) -> str:
    """As tests.support.traffic gives it."""
    return f"todo {todo_id}"


@dataclass
class World:
    services: Services
    stack: Stack
    supervisor: Supervisor
    journal: Journal
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

    def one_broker(self) -> Service:
        kafka = self.services.kafka
        return self.rng.choice(kafka.nodes) if isinstance(kafka, Brokers) else kafka

    def accept(self, sent: Sent) -> None:
        """Todos that another producer put into Kafka count as acknowledged too."""
        for todo_id in sent.ids:
            self.journal.accept(Accepted(todo_id, foreign_title(todo_id), time.time(), -1, -1))


def running(process: Process) -> psutil.Process:
    """Waits for the supervisor, should it just have ended."""
    return psutil.Process(eventually(lambda: process.pid, seconds=START_SECONDS, what=f"{process.name} to run"))


@contextmanager
def running_world(
    folder: Path, seed: int, *, env: dict[str, str], wants_disk: bool, wants_brokers: bool
) -> Iterator[World]:
    """Ends everything, whatever happens. `wants_brokers`: three in place of one."""
    kafka = Brokers(folder / "kafka") if wants_brokers else Kafka(folder / "kafka")
    services = Services(Postgres(folder / "postgres"), Valkey(folder / "valkey"), kafka)
    (points := folder / "points").mkdir()
    with ExitStack() as ending:
        disk = _mount_disk(folder / "disk", ending) if wants_disk else None
        for service in services:
            ending.callback(service.stop)
            service.launch()
        for service in services:
            service.wait_ready()
        with redirect_stdout(StringIO()):
            stack = Stack(services, folder, DjangoDbBlocker(_ispytest=True), partitions=PARTITIONS)
        ending.callback(stack.stop)
        if disk:
            stack.rows(f"CREATE TABLESPACE chaos LOCATION '{disk}'")
            stack.rows("ALTER TABLE todos_todo SET TABLESPACE chaos")
        stack.rows(RECORD_MOVES)
        stack.schedule(every_seconds=5)  # the batches are as large as production's, and so read ahead
        _start_programs(stack, env | {"CHAOS_POINTS": str(points)})
        journal = Journal()
        supervisor = ending.enter_context(Supervisor(stack.processes))
        ending.enter_context(Watcher(stack.database_url, journal))
        yield World(services, stack, supervisor, journal, points, disk, random.Random(seed))


def _start_programs(stack: Stack, env: dict[str, str]) -> None:
    stack.edge()
    for worker in WORKERS:
        stack.worker(worker, app="tests.chaos.faulty_worker", env=env)
    for beat in BEATS:
        stack.beat(beat)


def why_no_brokers() -> str | None:
    return None if find_java() else "three brokers need Apache Kafka, and so Java"


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
