"""The beat's Celery app under a clock that may be wrong: `celery --app tests.chaos.faulty_beat beat`.

A file named `clock` in the folder that CHAOS_POINTS names holds the seconds by which the clock of this process is ahead
(negative: behind). Production code knows nothing of it.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine

from todoproject.celery import app

__all__ = ["app"]

_clock = Path(os.environ["CHAOS_POINTS"], "clock")
if _clock.is_file():
    time_machine.travel(datetime.now(UTC) + timedelta(seconds=float(_clock.read_text())), tick=True).start()
