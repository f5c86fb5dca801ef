"""One live line while it runs; plain lines, one per fault, where nobody watches."""

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tests.chaos.campaign import Injection
from tests.chaos.journal import Journal

TICK_SECONDS = 0.25


class Ticker:
    """`seconds` is when the bar is full."""

    def __init__(self, console: Console, seconds: float) -> None:
        self.console = console
        self._journal = Journal()
        self._text = "starting services and programs"
        self._started: float | None = None
        self._ending = threading.Event()
        columns = (BarColumn(20), TextColumn("{task.description}", markup=False))
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._bar = self._progress.add_task(self._text, total=seconds)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._progress.start()
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._progress.stop()

    def watch(self, journal: Journal) -> None:
        self._journal, self._started = journal, time.monotonic()

    def tell(self, text: str) -> None:
        self._text = text

    def done(self, injection: Injection) -> None:
        hold = injection.repaired_at - injection.struck_at
        new, older = injection.recovery_seconds, injection.catch_up_seconds
        outcome = injection.problem or f"new todos after {new:.1f} s, caught up after {older:.1f} s"
        outcome += f"; probe: {', '.join(injection.said)}" if injection.said else ""
        for text in (f"{injection.fault:20} {hold:5.1f} s; {outcome}", *injection.untrue):
            self.console.print(text, highlight=False, markup=False)

    def _run(self) -> None:
        while not self._ending.wait(TICK_SECONDS):
            journal = self._journal
            counts = (
                f"acknowledged {len(journal.accepted):,}, stored {len(journal.seen):,}, "
                f"unconfirmed {len(journal.unconfirmed):,}, stalled {journal.stalled_for():.0f} s"
            )
            elapsed = time.monotonic() - self._started if self._started else 0.0
            self._progress.update(self._bar, completed=elapsed, description=f"{elapsed:.0f} s, {self._text}; {counts}")
