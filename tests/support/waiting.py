"""Wait for a condition, and measure seconds, on a machine that may be busy with other work.

While programs wait for a processor, a second counts less: a bound that holds on an idle machine then holds on a busy
one, and is as strict as ever on the idle one.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PRESSURE = Path("/proc/pressure/cpu")
MOST_DISCOUNTED = 0.8  # of the elapsed time, so that a bound is never wider than five times itself


def stalled_seconds() -> float:
    """Return how long, since its start, some program of this machine has waited for a processor.

    Linux counts it (pressure stall information). Elsewhere it is 0, and a bound means seconds of the clock.
    """
    try:
        total = re.search(r"^some .* total=(\d+)$", PRESSURE.read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(total[1]) / 1e6 if total else 0.0


class Stopwatch:
    """Measures the seconds since it was made, without those in which programs waited for a processor."""

    def __init__(self) -> None:
        self._begin, self._stalled = time.monotonic(), stalled_seconds()

    @property
    def seconds(self) -> float:
        elapsed = time.monotonic() - self._begin
        return elapsed - min(stalled_seconds() - self._stalled, MOST_DISCOUNTED * elapsed)


def eventually(check: Callable[[], T], *, seconds: float, what: str, every: float = 0.05) -> T:
    """Return the first true value of `check`, which is called every so many seconds.

    Raises:
        AssertionError: none came within the seconds of a `Stopwatch`.
    """
    watch = Stopwatch()
    while not (value := check()):
        if watch.seconds > seconds:
            raise AssertionError(f"waited {seconds:g} s for {what}, in vain; the last value was {value!r}")
        time.sleep(every)
    return value
