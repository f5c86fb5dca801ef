"""Ctrl-C and SIGTERM as one exception, raised once and only where nothing can be left half-started."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The run must end. A BaseException, so that no `except Exception` swallows it."""


class Interrupts:
    def __init__(self) -> None:
        self._held = False
        self._pending = False

    def install(self) -> None:
        for signum in SIGNALS:
            signal.signal(signum, self._receive)

    def ignore(self) -> None:
        for signum in SIGNALS:
            signal.signal(signum, signal.SIG_IGN)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A signal in here is acted on at the end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._pending:
            raise Interrupted

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        self.ignore()  # a second Ctrl-C must not break the tidying up
        if self._held:
            self._pending = True
        else:
            raise Interrupted
