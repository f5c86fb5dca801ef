"""Times that others set may hold any 64-bit number; dates may not."""

from datetime import UTC, datetime

import pytest
from django_celery_beat.models import IntervalSchedule

from todos.bounds import FOREVER_SECONDS, LATEST_MS, finite_seconds, interval_seconds, moment_of
from todos.monitoring.forecast import Forecast


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [(0, 0), (-1.5, -1.5), (FOREVER_SECONDS, FOREVER_SECONDS), (2.0**63, None), (float("inf"), None)],
)
def test_what_never_comes_is_none(seconds: float, kept: float | None) -> None:
    assert kept == finite_seconds(seconds)


@pytest.mark.parametrize("timestamp", [-1, -(2**63), LATEST_MS, 2**63 - 1])
def test_an_invalid_time_is_none(timestamp: int) -> None:
    assert moment_of(timestamp) is None


def test_a_valid_time_is_a_date() -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) == moment_of(0)
    assert datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC) == moment_of(LATEST_MS - 1_000)


@pytest.mark.parametrize(("every", "period", "seconds"), [(5, "seconds", 5), (1_500_000, "microseconds", 1.5)])
def test_an_interval_is_so_many_seconds(every: int, period: str, seconds: float) -> None:
    assert seconds == interval_seconds(IntervalSchedule(every=every, period=period))


@pytest.mark.parametrize("period", IntervalSchedule.PERIOD_CHOICES)
def test_no_interval_is_too_long_to_be_read(period: tuple[str, str]) -> None:
    assert 0 < interval_seconds(IntervalSchedule(every=2**31 - 1, period=period[0])) < float("inf")


def test_a_lag_that_shrinks_by_nothing_is_never_cleared() -> None:
    almost_none = Forecast(polls=1, surplus=0, idle_gap=0, lag=10**9, per_minute=1.0 + 1e-15, arriving=1.0)
    assert almost_none.seconds_to_clear is None
    assert 600 == Forecast(polls=1, surplus=0, idle_gap=0, lag=10, per_minute=2.0, arriving=1.0).seconds_to_clear
