"""End a task at Celery's soft time limit, wherever it is, and no other task.

Celery's parent process sends a signal to a child whose task takes too long, and the child's handler raises an
exception. Two things are different here. The exception is no Exception, which the tracing or a library would swallow.
And a signal that comes when its task is over is ignored: it would end a child that is idle, or the next task.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from billiard.exceptions import SoftTimeLimitExceeded
from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler

# Celery counts from when it learns that the task has started.
TOLERANCE_SECONDS = 1.0


class TimeIsUp(BaseException):
    """The task has used up its time. No `except Exception` stops it."""


class _Deadline:
    """When the signal is for the task that runs now, in seconds of time.monotonic; None between two tasks."""

    at: float | None = None


@contextmanager
def soft_time_limit(seconds: float) -> Iterator[None]:
    """Raise SoftTimeLimitExceeded from the block if Celery's signal comes after `seconds`.

    A task does everything in it: Celery sends one signal, which is ignored if the block begins TOLERANCE_SECONDS late.
    """
    # Celery installs its handler when the child starts, after all signals that could replace it sooner.
    if signal.getsignal(SIG_SOFT_TIMEOUT) is soft_timeout_sighandler:
        signal.signal(SIG_SOFT_TIMEOUT, _on_signal)
    _Deadline.at = time.monotonic() + seconds - TOLERANCE_SECONDS
    try:
        yield
    except TimeIsUp:
        raise SoftTimeLimitExceeded(seconds) from None
    finally:
        _Deadline.at = None


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    if _Deadline.at is not None and time.monotonic() >= _Deadline.at:
        raise TimeIsUp("the soft time limit of the task")
