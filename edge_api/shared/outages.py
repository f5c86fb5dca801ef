"""Log an outage by one line when it begins and one when it ends, however often it is met meanwhile."""

import logging
import time

# An outage that is not met for so long is over: what ended it may not have been noticed, and the next one is news.
FORGOTTEN_SECONDS = 120.0


class Outage:
    """An outage as one process meets it. `begun` and `ended` are the lines; the reason is added to the first."""

    def __init__(self, log: logging.Logger, begun: str, ended: str) -> None:
        self._log, self._begun, self._ended = log, begun, ended
        self._last_met: float | None = None
        self._level = logging.NOTSET

    def begin(self, reason: object, level: int = logging.WARNING) -> None:
        """Log at `level` that the outage began. While it lasts, reasons of no higher level are logged at DEBUG."""
        now = time.monotonic()
        if self._last_met is None or now - self._last_met > FORGOTTEN_SECONDS:
            self._level = logging.NOTSET
        is_news = level > self._level
        self._last_met, self._level = now, max(level, self._level)
        self._log.log(level if is_news else logging.DEBUG, "%s: %s", self._begun, " ".join(str(reason).split()))

    def end(self) -> None:
        """Log that the outage ended, if there was one."""
        if self._last_met is not None:
            self._last_met = None
            self._log.info("%s", self._ended)


def outage_of(log: logging.Logger, service: str) -> Outage:
    """Return the outage of a service that this process connects to."""
    return Outage(log, f"{service} is unavailable", f"{service} is available again")
