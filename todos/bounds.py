"""Bounds for times that others set: Kafka's retention, producers' clocks, intervals of schedules.

Each of them may hold any 64-bit number, which no date and no timedelta can. Apply these before any arithmetic.
"""

from datetime import UTC, datetime, timedelta
from typing import Protocol

FOREVER_SECONDS = 100 * 366 * 86_400
LONGEST_TOKEN_DAYS = 365  # that create_token signs
LATEST_MS = 253_370_764_800_000  # the contract's last moment, start of the year 9999


class Interval(Protocol):
    """An interval of django-celery-beat: `every` so many of a `period`, a plural like days."""

    every: int
    period: str


def finite_seconds(seconds: float) -> float | None:
    """Return the seconds, or None if they are more than 100 years, which is as good as never."""
    return seconds if seconds <= FOREVER_SECONDS else None


def moment_of(timestamp_ms: int) -> datetime | None:
    """Return the time of a record, given in milliseconds since 1970; None if its producer gave no valid time."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC) if 0 <= timestamp_ms < LATEST_MS else None


def interval_seconds(interval: Interval) -> float:
    """Return the seconds of an interval; of one beyond what a timedelta holds, the longest."""
    return timedelta(**{interval.period: min(interval.every, timedelta.max.days)}).total_seconds()
