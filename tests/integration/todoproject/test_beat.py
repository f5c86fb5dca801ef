"""Beat with real PostgreSQL and Valkey: wrong clocks and outages delay its ticks, and never stop them."""

import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from redis import Redis

from devstack import Valkey
from devstack.ports import free_port
from tests.support.database import database_away
from tests.support.stack import running
from tests.support.waiting import eventually
from todoproject.beat import Scheduler
from todoproject.celery import app
from todos.operations.clocks import wrong_clocks
from todos.operations.schedules import POLL_SCHEDULE, POLL_TASK, interval_of, switch_polling
from todos.operations.ticks import Tick, database_now

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


class Beat:
    """A scheduler of this process, whose passes the test makes, and the queue that it fills."""

    def __init__(self, queue: Redis) -> None:
        self.queue = queue
        self.scheduler = Scheduler(app=app)

    def passes(self, count: int = 5) -> Scheduler:
        for _ in range(count):
            self.scheduler.tick()
        return self.scheduler

    def ticks(self) -> list[dict[str, Any]]:
        """The headers of the ticks in the queue, oldest first."""
        return [json.loads(message)["headers"] for message in reversed(self.queue.lrange("poll", 0, -1))]

    def wait_for_ticks(self, count: int) -> None:
        def has_sent() -> bool:
            self.passes()
            return len(self.ticks()) >= count

        eventually(has_sent, seconds=20, what=f"{count} ticks")


@pytest.fixture(autouse=True)
def task() -> PeriodicTask:
    """A schedule that is due every second."""
    kwargs = {"task": POLL_TASK, "interval": interval_of(1), "expire_seconds": 1}
    task: PeriodicTask = PeriodicTask.objects.create(name=POLL_SCHEDULE, **kwargs)
    return task


@pytest.fixture(autouse=True)
def no_sync_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """When this process ends there is no database any more."""
    monkeypatch.setattr("django_celery_beat.schedulers.Finalize", lambda *args, **kwargs: None)


@pytest.fixture
def beat(queue: Redis) -> Iterator[Beat]:
    beat = Beat(queue)
    yield beat
    beat.scheduler.close()


@pytest.fixture
def no_redis(monkeypatch: pytest.MonkeyPatch) -> int:
    """The port that Redis will listen on later."""
    port = free_port()
    monkeypatch.setattr(app.conf, "broker_write_url", f"redis://127.0.0.1:{port}/0")
    return port


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    """Set the clock that beat sees to so much ahead of the real one."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + ahead

    monkeypatch.setattr("django.utils.timezone.datetime", Clock)
    monkeypatch.setattr("celery.app.base.datetime", Clock)
    library = SimpleNamespace(datetime=Clock, timedelta=timedelta)
    monkeypatch.setattr("django_celery_beat.schedulers.datetime", library)
    wall = SimpleNamespace(time=lambda: time.time() + ahead.total_seconds(), monotonic=time.monotonic)
    monkeypatch.setattr("todoproject.beat.time", wall)


# --- Clocks


@pytest.mark.parametrize("field", ["last_run_at", "date_changed"])
def test_a_time_in_the_future_delays_no_tick_beyond_an_interval(task: PeriodicTask, queue: Redis, field: str) -> None:
    """As a beat whose clock was ahead, or the edit of a web process whose clock was ahead, leaves it."""
    PeriodicTask.objects.update(**{"last_run_at": None, field: database_now() + HOUR})
    beat = Beat(queue)
    beat.wait_for_ticks(2)
    beat.scheduler.close()
    task.refresh_from_db()
    assert task.last_run_at < database_now() + HOUR / 2


def test_a_resumed_schedule_with_such_a_time_ticks(beat: Beat) -> None:
    switch_polling(enabled=False)
    beat.passes()
    PeriodicTask.objects.update(last_run_at=None, date_changed=database_now() + HOUR)
    switch_polling(enabled=True)
    beat.wait_for_ticks(1)


def test_a_clock_that_is_set_back_stops_no_tick(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    beat.wait_for_ticks(1)
    set_clock(monkeypatch, -HOUR)
    beat.wait_for_ticks(len(beat.ticks()) + 2)


@pytest.mark.parametrize("ahead", [timedelta(seconds=-30), HOUR, -HOUR], ids=str)
def test_a_tick_of_a_beat_with_a_wrong_clock_is_worth_as_much_as_any(
    queue: Redis, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    set_clock(monkeypatch, ahead)
    beat = Beat(queue)
    beat.wait_for_ticks(1)
    headers = beat.ticks()[-1]
    assert not headers["expires"]
    assert not Tick.from_headers(headers).is_outdated(POLL_TASK)

    monkeypatch.undo()
    (wrong,) = wrong_clocks()
    assert ("beat", "clock-ahead" if ahead > timedelta() else "clock-behind") == (wrong.process, wrong.code)
    beat.passes()
    assert [] == wrong_clocks()


def test_an_edit_by_a_process_whose_clock_is_behind_is_noticed(beat: Beat, task: PeriodicTask) -> None:
    beat.passes()
    PeriodicTask.objects.update(name="renamed")
    PeriodicTasks.objects.update(last_update=database_now() - HOUR)
    eventually(lambda: "renamed" in beat.passes().schedule, seconds=10, what="the new name")


# --- Outages


def outage_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert not [record for record in caplog.records if record.exc_info]
    return [line for line in caplog.messages if "available" in line]


def test_without_redis_beat_waits_and_says_so_once(
    no_redis: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    beat = Beat(Redis.from_url(f"redis://127.0.0.1:{no_redis}/0"))
    attempts = []

    def count(*args: Any, **kwargs: Any) -> Any:
        attempts.append(args)
        return Scheduler.apply_async(beat.scheduler, *args, **kwargs)

    monkeypatch.setattr(beat.scheduler, "apply_async", count)
    eventually(lambda: beat.passes() and len(attempts) >= 2, seconds=20, what="two attempts")
    (line,) = outage_lines(caplog)
    assert "Redis" in line

    with running(Valkey(tmp_path, no_redis)):
        beat.wait_for_ticks(1)
        beat.scheduler.close()
    assert 2 == len(outage_lines(caplog))


def test_without_the_database_the_known_schedules_tick_on(beat: Beat, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    beat.wait_for_ticks(1)
    with database_away():
        beat.wait_for_ticks(len(beat.ticks()) + 2)
        beat.scheduler.sync()
    (line,) = outage_lines(caplog)
    assert "PostgreSQL" in line
    assert not Tick.from_headers(beat.ticks()[-1]).is_outdated(POLL_TASK)

    switch_polling(enabled=False)
    eventually(lambda: not beat.passes().schedule, seconds=10, what="the pause to be noticed")
    assert 2 == len(outage_lines(caplog))


def test_a_beat_that_starts_without_the_database_reads_the_schedules_later(queue: Redis) -> None:
    with database_away():
        beat = Beat(queue)
        beat.passes()
    beat.wait_for_ticks(1)
    beat.scheduler.close()


# --- Schedules that no worker can run


@pytest.mark.parametrize(
    "change",
    [
        {"task": "os.system"}, {"task": "celery.map"}, {"queue": "other"}, {"exchange": "other"},
        {"routing_key": "other"}, {"args": "[1]"}, {"args": "["}, {"kwargs": "[]"}, {"headers": "[]"}, {"headers": "{"},
    ],
    ids=str,
)  # fmt: skip
def test_they_are_not_sent_and_named_once(beat: Beat, caplog: pytest.LogCaptureFixture, change: dict[str, str]) -> None:
    fields = {"task": POLL_TASK, "interval": interval_of(1), "last_run_at": database_now() - HOUR}
    PeriodicTask.objects.create(name="other", **fields | change)
    beat.wait_for_ticks(1)
    beat.passes()
    beat.scheduler.all_as_schedule()

    assert {POLL_SCHEDULE} == {tick["periodic_task_name"] for tick in beat.ticks()}
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "'other' is not sent" in line.getMessage()
    assert next(iter(change)) in line.getMessage()
    assert not line.exc_info
    assert not beat.queue.exists("other")
