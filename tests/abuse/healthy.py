"""Clients that use both ports as they should while an attack runs, and what they got."""

import asyncio
import threading
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

from tests.abuse.wire import ANSWER_SECONDS
from tests.abuse.world import Side, World
from tests.support.tokens import bearer
from tests.support.waiting import Stopwatch

ADDRESS = "127.0.0.3"  # of all healthy clients; attackers use others
PAUSE_SECONDS = 0.2


class Kind(NamedTuple):
    """One request that is made again and again. A probe comes from inside, past the proxy."""

    name: str
    side: Side
    path: str
    is_probe: bool = True


KINDS = [
    Kind("POST /new/", "edge", "/new/", is_probe=False),
    Kind("GET /healthz", "edge", "/healthz"),
    Kind("GET /metrics", "edge", "/metrics"),
    Kind("list", "web", "/api/todos/", is_probe=False),
    Kind("sign-in page", "web", "/admin/login/", is_probe=False),
    Kind("style sheet", "web", "/static/unfold/css/styles.css", is_probe=False),
    Kind("GET /healthz", "web", "/healthz"),
    Kind("GET /metrics", "web", "/metrics"),
    Kind("JWKS", "web", "/.well-known/jwks.json"),
]


class Sample(NamedTuple):
    """One request. `problem` is empty if it was served, `judged_seconds` are a Stopwatch's."""

    kind: Kind
    seconds: float
    judged_seconds: float
    problem: str


class Latency(NamedTuple):
    """How long clients waited, in seconds, also those that were not served."""

    requests: int
    p50: float
    p99: float


class Healthy:
    """Makes requests of every kind until it leaves its `with` block, and then waits for the last answers.

    It has a thread and an event loop of its own, and a new connection for each request: one that was opened before the
    attack would show nothing of the way in.
    """

    def __init__(self, world: World) -> None:
        self.samples: list[Sample] = []
        self._world = world
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    async def _run(self) -> None:
        transport = httpx.AsyncHTTPTransport(
            verify=False, local_address=ADDRESS, limits=httpx.Limits(max_keepalive_connections=0)
        )
        async with (
            httpx.AsyncClient(transport=transport, timeout=ANSWER_SECONDS) as client,
            asyncio.TaskGroup() as clients,
        ):
            for kind in KINDS:
                clients.create_task(self._repeat(client, kind))

    async def _repeat(self, client: httpx.AsyncClient, kind: Kind) -> None:
        number = 0
        while not self._ending.is_set():
            begin, watch = time.monotonic(), Stopwatch()
            problem = await self._ask(client, kind, number)
            self.samples.append(Sample(kind, time.monotonic() - begin, watch.seconds, problem))
            number += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, client: httpx.AsyncClient, kind: Kind, number: int) -> str:
        """Return what went wrong, or nothing."""
        target = self._world.targets[kind.side]
        person = self._world.people[number % len(self._world.people)]
        url = f"http://127.0.0.1:{target.service_port if kind.is_probe else target.port}{kind.path}"
        headers = bearer(person.token) if kind.path in ("/new/", "/api/todos/") else {}
        todo: dict[str, Any] = {"json": {"title": f"healthy {number}"}} if kind.path == "/new/" else {}
        method, wanted = ("POST", 202) if todo else ("GET", 200)
        try:
            answer = await client.request(method, url, headers=headers, **todo)
        except httpx.TransportError as exc:
            return type(exc).__name__
        return "" if answer.status_code == wanted else f"{answer.status_code} {answer.text[:100]}"


def latency(samples: Iterable[Sample]) -> Latency:
    seconds = [sample.seconds for sample in samples]
    return Latency(len(seconds), percentile(seconds, 0.5), percentile(seconds, 0.99))


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return the time within which this share of them is; 0 without any."""
    return sorted(seconds)[min(int(len(seconds) * share), len(seconds) - 1)] if seconds else 0.0
