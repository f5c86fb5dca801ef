"""The pipeline as real processes, with a database, a topic, a group and a Redis database of its own."""

import itertools
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import environ
import httpx
import psutil
import psycopg2
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from kafka import KafkaProducer
from pytest_django import DjangoDbBlocker

from devstack import Kafka, Postgres, Valkey
from devstack.kafka import tool_command
from devstack.ports import free_port
from devstack.process import Process
from edge_api.contract.tokens import SCOPES
from tests.support.waiting import eventually
from todos.event_log import LogUnavailable, OffsetRange
from todos.kafka.consumer import KafkaLog
from todos.operations.schedules import POLL_SCHEDULE
from todos.tokens.issue import access_token

ROOT = Path(__file__).parents[2]
START_SECONDS = 60
MANAGE_SECONDS = 600
LOG_TAIL_LINES = 40
ServiceT = TypeVar("ServiceT", Postgres, Valkey, Kafka)
_redis_databases = itertools.cycle(range(1, 16))


@contextmanager
def running(service: ServiceT) -> Iterator[ServiceT]:
    """Start the service, and stop it at the end, also when its start failed half-way."""
    try:
        service.start()
        yield service
    finally:
        service.stop()


class Services(NamedTuple):
    postgres: Postgres
    valkey: Valkey
    kafka: Kafka


class Stack:
    """Started by `edge`, `web`, `worker` and `beat`, or all at once; `stop` ends what is started, and what the test
    itself killed too."""

    def __init__(
        self,
        services: Services,
        logs: Path,
        blocker: DjangoDbBlocker,
        *,
        partitions: int = 6,
        template: str = "",
        auth: str = "open",
        environ: Mapping[str, str] = {},
    ) -> None:
        """`template` names a migrated database to copy; without it one is migrated here. `auth`: open or token.

        `environ` holds variables for every program, beside those that make them one stack.
        """
        self._auth, self._environ = auth, dict(environ)
        self.code = ROOT  # what starts from now on runs the project of this folder
        self.name = f"e2e_{uuid.uuid4().hex[:8]}"
        self.services, self.logs, self._blocker = services, logs, blocker
        self.database_url = services.postgres.database_url(self.name)
        self.redis_url = f"{services.valkey.url.rpartition('/')[0]}/{next(_redis_databases)}"
        self.kafka = settings.KAFKA.model_copy(
            update={"bootstrap_servers": services.kafka.bootstrap_servers, "topic": self.name, "group": self.name}
        )
        self.edge_port, self.web_port = free_port(), free_port()
        self.edge_url, self.web_url = f"http://127.0.0.1:{self.edge_port}", f"http://127.0.0.1:{self.web_port}"
        self.processes: dict[str, Process] = {}
        self._log = KafkaLog(self.kafka)
        create_database(services.postgres, self.name, template)
        with self.django():
            if not template:
                call_command("migrate", verbosity=0)
            call_command("signing_keys", "make")
            call_command("create_topics", partitions=partitions)
            call_command("create_schedules")

    # --- Processes

    def start(self) -> Self:
        """All of it, web first: the edge is ready when it has the keys."""
        self.web()
        self.edge()
        self.beat()
        self.worker()
        return self

    def edge(
        self,
        name: str = "edge",
        *,
        port: int = 0,
        command: tuple[str, ...] = ("-m", "edge_api"),
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """A second one needs a name and a port of its own."""
        port = port or self.edge_port
        edge = self._start(name, *command, env={"EDGE_PORT": str(port), **(env or {})})
        edge.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/readyz"), seconds=START_SECONDS)
        return edge

    def web(self) -> Process:
        web = self._start("web", "-m", "todoproject.web", "--processes", "1", "--port", str(self.web_port))
        web.wait_ready(lambda: answers(f"{self.web_url}/readyz"), seconds=START_SECONDS)
        return web

    def worker(
        self,
        name: str = "worker",
        *,
        concurrency: int = 2,
        app: str = "todoproject",
        env: Mapping[str, str] | None = None,
    ) -> Process:
        options = ("--concurrency", str(concurrency), "--without-mingle", "--loglevel", "INFO", "--hostname", name)
        seen = len(self.log_of(name))
        worker = self._start(name, "-m", "celery", "--app", app, "worker", *options, env=env)
        worker.wait_ready(lambda: f"{name} ready." in self.log_of(name)[seen:], seconds=START_SECONDS)
        return worker

    def beat(self, name: str = "beat", *, app: str = "todoproject", env: Mapping[str, str] | None = None) -> Process:
        return self._start(name, "-m", "celery", "--app", app, "beat", "--loglevel", "INFO", env=env)

    def manage(self, *arguments: str, seconds: float = MANAGE_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` of the same code, for so long at most; the caller checks whether it succeeded."""
        command, env = [sys.executable, "manage.py", *arguments], os.environ | self.env
        return subprocess.run(
            command, cwd=self.code, env=env, capture_output=True, text=True, check=False, timeout=seconds
        )

    def stop(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Process.stop, self.processes.values()))
        self._log.close()

    def _start(self, name: str, *command: str, env: Mapping[str, str] | None = None) -> Process:
        python = (sys.executable, "-X", "faulthandler")
        process = Process(
            name, [*python, *command], log=self._log_path(name), env=self.env | dict(env or {}), cwd=self.code
        )
        self.processes[name] = process
        process.start()
        return process

    @property
    def env(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "KAFKA_TOPIC": self.kafka.topic,
            "KAFKA_GROUP": self.kafka.group,
            "EDGE_AUTH": self._auth,
            "EDGE_JWKS": f"{self.web_url}/.well-known/jwks.json",
            "EDGE_PORT": str(self.edge_port),
            "EDGE_PUBLIC_API_URL": self.web_url,
            "PYTHONUNBUFFERED": "1",
            **({"DJANGO_API_AUTH": "token"} if self._auth == "token" else {}),  # open is the tests' default, with debug
            **self._environ,
        }

    # --- Logs

    def _log_path(self, name: str) -> Path:
        return self.logs / f"{self.name}-{name}.log"

    def log_of(self, name: str) -> str:
        path = self._log_path(name)
        return path.read_text(errors="replace") if path.is_file() else ""

    def log_tails(self) -> Iterator[tuple[str, str]]:
        for name in self.processes:
            yield f"end of the log of {name}", "\n".join(self.log_of(name).splitlines()[-LOG_TAIL_LINES:])

    # --- Database

    def django(self) -> AbstractContextManager[None]:
        """Meanwhile the ORM and the commands of this process work on the stack's database and topic."""
        return django_on(self.database_url, self._blocker, KAFKA=self.kafka)

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        return query(self.database_url, sql, *params)

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM todos_{table}")[0][0])

    def schedule(self, *, every_seconds: int, expire_seconds: int | None = None, **options: int) -> None:
        """Edit the schedule, as an operator does in the admin; `options` are the kwargs of the poll.

        Without `expire_seconds` a tick expires when the next one is due.
        """

        with self.django():
            task = PeriodicTask.objects.get(name=POLL_SCHEDULE)
            task.interval, _ = IntervalSchedule.objects.get_or_create(
                every=every_seconds, period=IntervalSchedule.SECONDS
            )
            task.expire_seconds = expire_seconds or every_seconds
            task.kwargs = json.dumps(json.loads(task.kwargs) | options)
            task.save()

    # --- Users

    def user(self, name: str = "olga") -> User:
        with self.django():
            return User.objects.get_or_create(username=name)[0]

    def session(self, user: User) -> dict[str, str]:
        """Return the cookie of a user who has signed in to the admin."""
        with self.django():
            client = Client()
            client.force_login(user)
        name = settings.SESSION_COOKIE_NAME
        return {name: client.cookies[name].value}

    def token(self, user: User) -> str:
        with self.django():
            return access_token(user, SCOPES, timedelta(hours=1))

    # --- Kafka

    def producer(self) -> KafkaProducer:
        return KafkaProducer(**self.kafka.client_options(), acks="all", batch_size=128 * 1024, linger_ms=5)

    def end_offsets(self) -> dict[int, int]:
        spans = eventually(self._spans, seconds=START_SECONDS, what="Kafka to tell its offsets")
        return {partition: span.end for partition, span in spans.items()}

    def _spans(self) -> dict[int, OffsetRange]:
        """Empty while Kafka does not answer, as just after its restart."""
        try:
            return self._log.offset_ranges(self._log.partitions())
        except LogUnavailable:
            self._log.close()  # kafka-python does not recover from each of its errors
            self._log = KafkaLog(self.kafka)
            return {}

    def ledger(self) -> dict[int, int]:
        sql = "SELECT partition, next_offset FROM todos_partitionledger WHERE topic = %s"
        return dict(self.rows(sql, self.kafka.topic))

    def wait_until_drained(self, *, seconds: float) -> None:
        ends = self.end_offsets()
        eventually(lambda: self.ledger() == ends, seconds=seconds, what=f"the ledger to reach {ends}")

    def group_lags(self) -> dict[int, str]:
        """The lag of each partition of the group, in the words of Kafka's own tool."""
        arguments = ("--describe", "--group", self.kafka.group)
        command = tool_command("kafka-consumer-groups", self.kafka.bootstrap_servers, *arguments)
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        table = [line.split() for line in shown.splitlines() if self.kafka.topic in line]
        return {int(partition): lag for _, _, partition, _, _, lag, *_ in table}


MakeStack = Callable[..., Stack]


@contextmanager
def django_on(database_url: str, blocker: DjangoDbBlocker, **overrides: Any) -> Iterator[None]:
    original = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(environ.Env.db_url_config(database_url))
    try:
        with blocker.unblock(), override_settings(**overrides):
            yield
            connection.close()
    finally:
        connection.settings_dict.update(original)


def create_database(postgres: Postgres, name: str, template: str = "") -> None:
    query(postgres.database_url("postgres"), f"CREATE DATABASE {name} TEMPLATE {template or 'template1'}")


def create_template(postgres: Postgres, blocker: DjangoDbBlocker) -> str:
    """Create a migrated database to copy, and return its name."""
    name = f"template_{uuid.uuid4().hex[:8]}"
    create_database(postgres, name)
    with django_on(postgres.database_url(name), blocker):
        call_command("migrate", verbosity=0)
    return name


def query(database_url: str, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(database_url, connect_timeout=5)) as database:
        database.autocommit = True
        with database.cursor() as cursor:
            cursor.execute(sql, params or None)
            return cursor.fetchall() if cursor.description else []


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def children(process: Process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
