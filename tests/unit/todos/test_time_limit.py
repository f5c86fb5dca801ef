"""Celery's signal ends the task that it is for: no handler of exceptions stops it, and no other task is ended."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler
from celery.exceptions import SoftTimeLimitExceeded
from pytest_django import Settings

from todos.ingest.parsing import parse_records
from todos.ingest.store import StoreResult
from todos.ingest.tracing import trace_batch
from todos.ledger.batch_history import UNKNOWN_WRITER
from todos.tasks import poll_todos, trim_batches
from todos.time_limit import soft_time_limit


@pytest.fixture(autouse=True)
def celery_child() -> Iterator[None]:
    """As Celery sets up a child of its pool."""
    before = signal.signal(SIG_SOFT_TIMEOUT, soft_timeout_sighandler)
    yield
    signal.signal(SIG_SOFT_TIMEOUT, before)


def send_signal(*_: object) -> int:
    os.kill(os.getpid(), SIG_SOFT_TIMEOUT)
    return 0


def test_a_task_that_takes_too_long_is_ended() -> None:
    with pytest.raises(SoftTimeLimitExceeded), soft_time_limit(0):
        send_signal()


def test_code_that_survives_any_error_does_not_survive_the_time_limit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRACING = True
    monkeypatch.setattr(time, "time_ns", send_signal)  # so that it comes in the middle of the tracing
    nothing = parse_records("any", [])
    with pytest.raises(SoftTimeLimitExceeded), soft_time_limit(0):
        trace_batch("any", nothing, StoreResult(0, 0, 0), UNKNOWN_WRITER, 0)


@pytest.mark.parametrize("beginning", ["ticks.Tick.is_outdated", "clocks.ClockWatch.measure"])
def test_a_poll_whose_beginning_takes_too_long_is_ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, beginning: str
) -> None:
    settings.CELERY_TASK_SOFT_TIME_LIMIT = 0
    with soft_time_limit(60):
        pass  # the first task of the child
    monkeypatch.setattr("todos.operations.ticks.Tick.is_outdated", lambda *_: False)
    monkeypatch.setattr(f"todos.operations.{beginning}", send_signal)
    with pytest.raises(SoftTimeLimitExceeded):
        poll_todos()


def test_a_trim_whose_beginning_takes_too_long_is_ended(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CELERY_TASK_SOFT_TIME_LIMIT = 0
    with soft_time_limit(60):
        pass  # the first task of the child
    monkeypatch.setattr("todos.operations.ticks.Tick.is_outdated", send_signal)
    with pytest.raises(SoftTimeLimitExceeded):
        trim_batches()


def test_a_signal_that_comes_too_late_ends_nothing() -> None:
    with soft_time_limit(0):
        pass
    send_signal()  # the child is idle
    with soft_time_limit(60):
        send_signal()  # the next task has just begun
