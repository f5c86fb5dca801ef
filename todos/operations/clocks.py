"""Clocks that differ from the database's: each process measures its own, and the monitor names those that are wrong.

Nothing in the pipeline depends on them, but times in logs, crontab schedules and tokens do.
"""

import os
import socket
import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import Error as DatabaseFailure
from django.db.models import Max
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from todos.models import ClockSkew
from todos.operations.ticks import database_now

BEAT = "beat"
TOLERATED_SECONDS = 5.0
REPEAT_SECONDS = 60.0
FORGOTTEN_AFTER = timedelta(seconds=5 * REPEAT_SECONDS)  # the process has ended, or moved to another machine


class Clock(NamedTuple):
    """The clock of a process, `ahead_seconds` ahead of the database's; behind it, if that is negative."""

    process: str
    ahead_seconds: float
    since: datetime | None = None

    @property
    def is_right(self) -> bool:
        return abs(self.ahead_seconds) <= TOLERATED_SECONDS

    @property
    def code(self) -> str:
        """The code of the problem that the monitor shows."""
        return "clock-ahead" if self.ahead_seconds > 0 else "clock-behind"

    def __str__(self) -> str:
        side = "ahead of" if self.ahead_seconds > 0 else "behind"
        return f"the clock of {self.process} is {abs(self.ahead_seconds):,.0f} s {side} the database's"


class ClockWatch:
    """Compares the clock of this process with the database's, and records a difference while there is one."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._next_report, self._is_right = 0.0, False

    def measure(self) -> None:
        """Query the database for the time and compare; a failure is ignored."""
        with suppress(DatabaseFailure):
            self.observe(database_now())

    def observe(self, now: datetime) -> None:
        """Compare the clock with `now`, which the database just answered. A failure to record it is ignored."""
        clock = Clock(self._process, (timezone.now() - now).total_seconds())
        if clock.is_right == self._is_right and (clock.is_right or time.monotonic() < self._next_report):
            return
        with suppress(DatabaseFailure):
            if clock.is_right:
                ClockSkew.objects.filter(process=self._process).delete()
            else:
                measured = {"ahead_seconds": clock.ahead_seconds, "measured_at": now}
                ClockSkew.objects.update_or_create(
                    process=self._process, defaults=measured, create_defaults=measured | {"since": now}
                )
            self._is_right, self._next_report = clock.is_right, time.monotonic() + REPEAT_SECONDS


def wrong_clocks() -> list[Clock]:
    """Return the processes, the caller's too, whose clocks differ from the database's by more than TOLERATED_SECONDS.

    A schedule whose last tick is in the future shows that the clock of beat was ahead when it sent that tick. That
    stops nothing, since beat ignores such a time. Raises a DatabaseError.
    """
    now = database_now()
    clocks = [Clock(f"process {os.getpid()} on {socket.gethostname()}", (timezone.now() - now).total_seconds())]
    clocks += [
        Clock(skew.process, skew.ahead_seconds, skew.since)
        for skew in ClockSkew.objects.filter(measured_at__gt=now - FORGOTTEN_AFTER).order_by("process")
    ]
    last_tick = PeriodicTask.objects.filter(enabled=True).aggregate(at=Max("last_run_at"))["at"]
    if last_tick and last_tick > now and BEAT not in {clock.process for clock in clocks}:
        clocks.append(Clock(BEAT, (last_tick - now).total_seconds()))
    return [clock for clock in clocks if not clock.is_right]
