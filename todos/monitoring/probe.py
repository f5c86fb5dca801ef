"""Questions to a service that may hang, asked in a thread so that no page waits for it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

FRESH_SECONDS = 3.0  # younger answers are not asked for again, however many pages are open
USABLE_SECONDS = 15.0  # what a slow service said last still counts for so long


@dataclass(frozen=True)
class Answer(Generic[T]):
    """`value` is None exactly when there is an `error`."""

    value: T | None
    error: str = ""
    at: float = field(default_factory=time.time)

    @property
    def age(self) -> float:
        return time.time() - self.at


class Probe(Generic[T]):
    """One question at a time, shared by everybody in this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._last: Answer[T] | None = None

    def start(self, ask: Callable[[], T]) -> None:
        """Does nothing while an answer is fresh or on its way."""
        with self._changed:
            if self._thread or (self._last and self._last.age < FRESH_SECONDS):
                return
            self._thread = threading.Thread(target=self._run, args=[ask], daemon=True, name="pipeline-probe")
            self._thread.start()

    def answer(self, deadline: float) -> Answer[T]:
        """Waits for what is under way until `deadline` (time.monotonic), but not for a service known to be away."""
        with self._changed:
            if not (self._last and self._last.error):
                self._changed.wait_for(lambda: self._thread is None, timeout=max(deadline - time.monotonic(), 0))
            if self._last and (self._thread is None or self._last.error or self._last.age < USABLE_SECONDS):
                return self._last
            return Answer(None, "does not answer in time")

    def join(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None)

    def _run(self, ask: Callable[[], T]) -> None:
        try:
            answer = Answer(ask())
        except Exception as exc:  # noqa: BLE001 - whatever it is, operators must see it and the next try must come
            answer = Answer(None, str(exc).rstrip(".") or type(exc).__name__)
        with self._changed:
            self._last, self._thread = answer, None
            self._changed.notify_all()
