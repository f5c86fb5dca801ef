"""The attacked system: an edge and a web process on real services, alone or behind the HAProxy of compose.yml."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psutil
from django.contrib.auth.models import User
from pytest_django import DjangoDbBlocker

from devstack import Kafka, Postgres, Valkey
from devstack.guard import tree
from devstack.ports import HOST
from devstack.process import Process
from tests.support.haproxy import HAProxy
from tests.support.stack import START_SECONDS, Services, Stack, answers, create_template
from tests.support.tokens import PASSWORD
from todos.owners import owner_of

Side = Literal["edge", "web"]
# Todos and requests, per address or owner: more than healthy clients need, and soon used up by an attack.
PER_ADDRESS, BURST_SECONDS, API_RATE = 6, 10, 120
LIMITS = {
    "EDGE_RATE_LIMIT_PER_ADDRESS": str(PER_ADDRESS),
    "EDGE_RATE_LIMIT_BURST_SECONDS": str(BURST_SECONDS),
    "DJANGO_API_RATE_LIMIT": f"{API_RATE}/minute",
    # As behind a proxy, which connects from this address.
    "EDGE_TRUSTED_PROXIES": f"{HOST}/32",
    "DJANGO_BEHIND_PROXY": "true",
    "DJANGO_ALLOWED_HOSTS": f"localhost,{HOST},web",
}
OWNERS = 6
ADD_TODOS = """
INSERT INTO todos_todo (id, title, description, is_done, created_at, updated_at, source_partition, source_offset, owner)
SELECT gen_random_uuid(), %s, %s, false, now() - number * interval '1 second', now(), 0, number, %s
FROM generate_series(1, %s) number
"""
OPEN = {psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT}


class Person(NamedTuple):
    """A user who may sign in to the admin, with PASSWORD; `subject` is the owner of the user's todos."""

    name: str
    subject: str
    token: str

    @property
    def authorization(self) -> str:
        """The header of the user's requests."""
        return f"Authorization: Bearer {self.token}"


@dataclass(frozen=True)
class Target:
    """One of the two ports that strangers reach."""

    side: Side
    port: int  # HAProxy's, if the service is behind it
    listener: Process
    service: Process
    service_port: int  # which probes and Prometheus ask, from inside

    def memory(self) -> int:
        """Return the resident bytes of the service; 0 when it has ended."""
        return sum(_resident(process) for process in _tree(self.service))

    def connections(self, *, apart_from: str) -> int:
        """Return how many clients the listener has, without those of one address."""
        return sum(
            connection.laddr.port == self.port and connection.status in OPEN and connection.raddr.ip != apart_from
            for process in _tree(self.listener)
            for connection in _connections(process)
        )

    def restart(self) -> None:
        """Kill the service and start it again, so that what one attack left behind is not blamed on the next."""
        self.service.kill()
        self.service.start()
        self.service.wait_ready(self.is_ready, seconds=START_SECONDS)

    def is_ready(self) -> bool:
        """Whether the service is ready, and HAProxy knows it."""
        return answers(f"http://{HOST}:{self.service_port}/readyz") and answers(f"http://{HOST}:{self.port}/healthz")


def _tree(process: Process) -> list[psutil.Process]:
    return tree(process.pid) if process.pid else []


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _connections(process: psutil.Process) -> list[Any]:
    with suppress(psutil.Error):
        return list(process.net_connections("tcp"))
    return []


@dataclass(frozen=True)
class World:
    stack: Stack
    targets: dict[Side, Target]
    people: list[Person]  # healthy ones
    operator: str  # the cookie of a superuser's session
    is_proxied: bool

    def person(self, name: str, todos: int = 0, *, title: str = "", description: str = "") -> Person:
        """Create a user, with so many todos of this content."""
        with self.stack.django():
            user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
            subject = owner_of(user)
        self.stack.rows(ADD_TODOS, title, description, subject, todos)
        return Person(name, subject, self.stack.token(user))


@contextmanager
def own_services(folder: Path, blocker: DjangoDbBlocker) -> Iterator[tuple[Services, str]]:
    """Start PostgreSQL, Valkey and Kafka, and yield them with the name of a migrated database to copy."""
    services = Services(Postgres(folder / "postgres"), Valkey(folder / "valkey"), Kafka(folder / "kafka"))
    with ExitStack() as ending:
        for service in services:
            ending.callback(service.kill)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda service: service.start(), services))
        with redirect_stdout(StringIO()):
            template = create_template(services.postgres, blocker)
        yield services, template


@contextmanager
def running_world(
    services: Services, template: str, folder: Path, blocker: DjangoDbBlocker, *, proxied: bool = False
) -> Iterator[World]:
    """Start the programs. End them also after an error."""
    with ExitStack() as ending:
        with redirect_stdout(StringIO()):
            stack = Stack(services, folder, blocker, template=template, auth="token", environ=LIMITS)
        ending.callback(stack.stop)
        web, edge = stack.web(), stack.edge()
        ports: dict[Side, int] = {"edge": stack.edge_port, "web": stack.web_port}
        processes: dict[Side, Process] = {"edge": edge, "web": web}
        targets = {side: Target(side, port, processes[side], processes[side], port) for side, port in ports.items()}
        if proxied:
            addresses = {side: f"{HOST}:{port}" for side, port in ports.items()}
            haproxy = ending.enter_context(HAProxy(folder, addresses["edge"], addresses["web"]).running())
            for side, target in targets.items():
                targets[side] = replace(target, port=haproxy.ports[side], listener=haproxy.process)
                haproxy.process.wait_ready(targets[side].is_ready, seconds=START_SECONDS)
        with stack.django():
            operator = User.objects.create_superuser("operator", password=PASSWORD)
        ((name, session),) = stack.session(operator).items()
        world = World(stack, targets, [], f"{name}={session}", proxied)
        world.people.extend(world.person(f"person{number}") for number in range(OWNERS))
        yield world
