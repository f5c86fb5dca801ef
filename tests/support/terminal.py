"""A program on a terminal of its own."""

import os
import pty
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import Stopwatch

ROOT = Path(__file__).parents[2]


class Terminal:
    """Runs `command` on a pseudo-terminal of 160 columns; `seen` is all that it has shown."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._screen, inner = pty.openpty()
        size = {"TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env={**env, **size}, stdin=inner, stdout=inner, stderr=inner, start_new_session=True
        )
        os.close(inner)
        self.seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)

    def wait_for(self, text: str, *, seconds: float = 60) -> None:
        """Until it has shown `text` since the last wait."""
        start, watch = len(self.seen), Stopwatch()
        while text not in self.seen[start:]:
            assert watch.seconds < seconds, f"waited in vain for {text!r}; seen was {self.seen[start:]!r}"
            if not self._read(0.5):
                raise AssertionError(f"ended without {text!r}; seen was {self.seen[start:]!r}")

    def wait(self, *, seconds: float = 60) -> int:
        """Until it has ended: the exit code."""
        watch = Stopwatch()
        while self._read(0.5):
            assert watch.seconds < seconds, f"it still runs; seen was {self.seen!r}"
        return self.process.wait(5)

    def _read(self, seconds: float) -> bool:
        """False when nothing more can come."""
        if select.select([self._screen], [], [], seconds)[0]:
            try:
                self.seen += os.read(self._screen, 65_536).decode(errors="replace")
            except OSError:  # the last program on it has ended
                return False
        return True
