"""Clients that POST without pause and believe nothing but a 202. They never retry: each POST is a todo of its own."""

import itertools
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import httpx

from tests.chaos.journal import Accepted, Journal

THREADS = 16
BATCH_THREADS, BATCH_SIZE = 4, 5  # of these threads, and todos in each of their POSTs
ANSWER_SECONDS = 10.0


class Load:
    """At most `rate` POSTs per second until it leaves its `with` block; fewer while the edge is slow to answer."""

    def __init__(self, edge_url: str, journal: Journal, *, rate: float) -> None:
        self.edge_url, self.journal, self.rate = edge_url, journal, rate
        self.name = f"chaos {uuid.uuid4().hex[:8]}"
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._is_paused, self._in_flight = False, 0
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(THREADS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Meanwhile no POST is sent, and none is in flight."""
        with self._changed:
            self._is_paused = True
            self._changed.wait_for(lambda: not self._in_flight)
        try:
            yield
        finally:
            with self._changed:
                self._is_paused = False
                self._changed.notify_all()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_paused)
            self._in_flight += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def _run(self, number: int) -> None:
        due = time.monotonic() + number / self.rate
        with httpx.Client(base_url=self.edge_url, timeout=ANSWER_SECONDS) as client:
            while not self._stop.wait(max(due - time.monotonic(), 0)):
                count = BATCH_SIZE if number < BATCH_THREADS else 1
                with self._turn():
                    self._post(client, [f"{self.name} {next(self._numbers)}" for _ in range(count)])
                due = max(due + THREADS / self.rate, time.monotonic())  # what was missed is not made up for

    def _post(self, client: httpx.Client, titles: list[str]) -> None:
        todos = [{"title": title} for title in titles]
        try:
            answer = client.post("/new/batch/", json=todos) if len(todos) > 1 else client.post("/new/", json=todos[0])
        except httpx.TransportError:  # refused, reset or too late
            for title in titles:
                self.journal.unconfirmed[title] = time.time()
            return
        body = answer.json() if answer.is_success else {}
        results = body.get("results") or [{"status": answer.status_code, **body}] * len(titles)
        for title, result in zip(titles, results, strict=True):
            self._note(title, result, answer)

    def _note(self, title: str, result: dict[str, Any], answer: httpx.Response) -> None:
        if result["status"] == HTTPStatus.ACCEPTED:
            self.journal.accept(Accepted(result["id"], title, time.time(), result["partition"], result["offset"]))
        elif result["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
            self.journal.unconfirmed[title] = time.time()
        else:
            self.journal.refused.append(f"{result['status']} for {title}: {answer.text[:200]}")
