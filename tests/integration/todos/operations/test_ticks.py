"""Which polls run: the database's clock and what the operator decided count, whenever their ticks were sent."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from django_celery_beat.models import PeriodicTask

from tests.support.database import database_away
from tests.support.memory_topic import MemoryTopic
from tests.support.sessions import open_transaction
from tests.support.threads import in_thread
from tests.support.waiting import eventually
from todos.ingest.consumer import ConsumerRun
from todos.ingest.options import PollOptions
from todos.models import Batch, Poller, Todo
from todos.operations.schedules import (
    POLL_SCHEDULE,
    POLL_TASK,
    TRIM_SCHEDULE,
    create_default_schedules,
    switch,
    switch_polling,
)
from todos.operations.ticks import BEAT_HEADER, SCHEDULE_HEADER, SENT_AT_HEADER, Tick, database_now
from todos.tasks import poll_todos, trim_batches

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., MemoryTopic]


@pytest.fixture
def topic(make_memory_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch) -> MemoryTopic:
    """What the polls read: one todo."""
    create_default_schedules()
    topic = make_memory_topic()
    topic.send_todos(1)
    monkeypatch.setattr("todos.tasks.process_log", lambda: nullcontext(topic.log()))
    return topic


def headers(*, age: float = 0.0, by_hand: bool = False, schedule: str = POLL_SCHEDULE) -> dict[str, Any]:
    """The headers of a tick that was sent `age` seconds ago, by the database's clock."""
    sent_at = (database_now() - timedelta(seconds=age)).isoformat()
    return {SCHEDULE_HEADER: schedule, SENT_AT_HEADER: sent_at} | ({} if by_hand else {BEAT_HEADER: True})


def poll(headers: dict[str, Any] | None = None, *, timeout_ms: int = 1000) -> None:
    poll_todos.apply(kwargs={"timeout_ms": timeout_ms}, headers=headers, throw=True)


def stored() -> int:
    return Todo.objects.count()


@pytest.mark.parametrize("named", [True, False], ids=["of a schedule", "without a schedule"])
def test_a_poll_that_waited_in_the_queue_during_a_pause_reads_nothing(topic: MemoryTopic, named: bool) -> None:
    queued = headers() if named else None
    switch_polling(enabled=False)
    poll(queued)
    assert (0, {}) == (stored(), topic.ledger())

    switch_polling(enabled=True)
    poll(queued)
    assert 1 == stored()


def test_a_poll_without_a_schedule_runs_while_any_schedule_of_the_poll_is_enabled(topic: MemoryTopic) -> None:
    interval = PeriodicTask.objects.get(name=POLL_SCHEDULE).interval
    PeriodicTask.objects.create(name="another", task=POLL_TASK, interval=interval)
    switch_polling(enabled=False, names=[POLL_SCHEDULE])
    poll(headers())
    assert 0 == stored()
    poll()
    assert 1 == stored()


def test_a_tick_of_a_schedule_that_was_deleted_reads_nothing(topic: MemoryTopic) -> None:
    poll(headers(schedule="deleted"))
    assert 0 == stored()


@pytest.mark.parametrize(("age", "count"), [(60, 0), (1, 1), (-3600, 1)])
def test_a_tick_expires_by_the_clock_of_the_database(topic: MemoryTopic, age: float, count: int) -> None:
    poll(headers(age=age))
    assert count == stored()


def test_without_expire_seconds_it_never_expires(topic: MemoryTopic) -> None:
    PeriodicTask.objects.update(expire_seconds=None)
    poll(headers(age=86_400))
    assert 1 == stored()


@pytest.mark.parametrize("sent_at", ["", "soon", "2026-01-01T00:00:00", 5, None, [], "9" * 99])
def test_a_time_that_is_none_counts_as_missing(sent_at: Any) -> None:
    assert Tick.from_headers({SENT_AT_HEADER: sent_at}).sent_at is None


def test_what_an_operator_sends_during_a_pause_runs(topic: MemoryTopic) -> None:
    before = headers(by_hand=True)
    switch_polling(enabled=False)
    poll(before)
    assert 0 == stored()
    poll(headers(by_hand=True))
    assert 1 == stored()


def test_what_an_operator_sent_during_one_pause_is_outdated_by_the_next(topic: MemoryTopic) -> None:
    switch_polling(enabled=False)
    queued = headers(by_hand=True)
    PeriodicTask.objects.update(enabled=True)  # behind the back of the application
    switch_polling(enabled=False)
    poll(queued)
    assert 0 == stored()


def test_a_running_poll_ends_when_its_schedule_is_paused(topic: MemoryTopic) -> None:
    running = in_thread(lambda: poll(headers(), timeout_ms=60_000))
    eventually(stored, seconds=20, what="the first todo")
    switch_polling(enabled=False)
    running.join(20)
    assert not running.is_alive()
    assert not Poller.objects.exists()

    topic.send_todos(1)
    poll(headers())
    assert 1 == stored()


def test_a_poll_that_has_not_checked_for_a_pause_yet_is_registered_already(topic: MemoryTopic) -> None:
    """Otherwise it could read after pause_polling --wait found no poll."""
    is_visible = []

    def should_stop() -> bool:
        is_visible.append(Poller.objects.filter(topic=topic.kafka.topic).exists())
        return True

    ConsumerRun(topic.log(), PollOptions(), "a test", should_stop=should_stop).run()
    assert True is is_visible[0]
    assert 0 == stored()


def test_a_database_that_does_not_answer_is_for_the_poll_to_report(topic: MemoryTopic) -> None:
    with database_away():
        assert not Tick(POLL_SCHEDULE).is_outdated(POLL_TASK)
    poll(headers())
    assert 1 == stored()


def test_a_locked_table_of_schedules_holds_up_no_poll(topic: MemoryTopic) -> None:
    with open_transaction() as other:
        other.execute("LOCK TABLE django_celery_beat_periodictask IN ACCESS EXCLUSIVE MODE")
        running = in_thread(lambda: poll(headers()))
        running.join(20)
        assert not running.is_alive()
        assert 1 == stored()


def test_a_paused_trim_deletes_nothing(topic: MemoryTopic) -> None:
    poll(headers())
    topic.send_todos(1)
    poll(headers())
    Batch.objects.update(created_at=database_now() - timedelta(days=99))
    batches = Batch.objects.count()
    switch(PeriodicTask.objects.filter(name=TRIM_SCHEDULE), enabled=False)
    trim_batches.apply(kwargs={"keep_days": 1}, headers=headers(schedule=TRIM_SCHEDULE), throw=True)
    assert batches == Batch.objects.count()

    switch(PeriodicTask.objects.filter(name=TRIM_SCHEDULE), enabled=True)
    trim_batches.apply(kwargs={"keep_days": 1}, headers=headers(schedule=TRIM_SCHEDULE), throw=True)
    assert batches > Batch.objects.count()
