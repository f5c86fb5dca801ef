"""A deadline that is cheap to move: nearly all are moved or cleared long before they pass."""

import asyncio
from collections.abc import Callable


class Deadline:
    """Call a function once a time has passed. The loop's timer stays where it is when the deadline is put off."""

    __slots__ = ("_due", "_loop", "_on_expiry", "_timer", "_timer_due")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due = self._timer_due = 0.0
        self._on_expiry: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        return self._on_expiry is not None

    def set(self, seconds: float, on_expiry: Callable[[], None]) -> None:
        """Replace the deadline by one in so many seconds."""
        self._due, self._on_expiry = self._loop.time() + seconds, on_expiry
        if self._timer is None or self._due < self._timer_due:
            self._start_timer()

    def clear(self) -> None:
        self._on_expiry = None

    def stop(self) -> None:
        """Clear the deadline for good, so that the loop no longer refers to it."""
        self._on_expiry = None
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _start_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer_due = self._due
        self._timer = self._loop.call_at(self._due, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._on_expiry is None:
            return
        if self._loop.time() < self._due:
            self._start_timer()
        else:
            on_expiry, self._on_expiry = self._on_expiry, None
            on_expiry()
