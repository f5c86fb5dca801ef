"""Operators tune the poll: its form, its buttons, its forecast, and its history."""

import json
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks

from devstack import Valkey
from devstack.ports import free_port
from todos.ingest.options import PollOptions
from todos.models import Batch
from todos.monitoring.forecast import PollSpeed, forecast, measure_speed
from todos.operations.schedules import POLL_SCHEDULE, TRIM_SCHEDULE, create_default_schedules
from todos.operations.ticks import Tick

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/admin/django_celery_beat/periodictask/"
VALUES = {
    "enabled": "on", "every_seconds": "5", "timeout_ms": "10000", "max_records": "10000", "time_budget_seconds": "10",
    "dead_letter_percent": "50",
}  # fmt: skip


@pytest.fixture
def task() -> PeriodicTask:
    create_default_schedules()
    return PeriodicTask.objects.get(name=POLL_SCHEDULE)


def save(client: Client, task: PeriodicTask, **changes: str) -> str:
    """The form's errors; empty when it was saved."""
    response = client.post(f"{LIST}{task.pk}/change/", VALUES | changes)
    task.refresh_from_db()
    return "" if response.status_code == 302 else str(response.context["adminform"].form.errors)


def act(client: Client, task: PeriodicTask, name: str, **data: str) -> list[str]:
    response = client.post(f"{LIST}{task.pk}/act/", {"act": name} | data, follow=True)
    task.refresh_from_db()
    return [str(message) for message in response.context["messages"]] if response.context else []


def history(task: PeriodicTask) -> list[str]:
    entries = LogEntry.objects.filter(object_id=str(task.pk)).order_by("pk")
    return [f"{entry.user}: {entry.get_change_message()}" for entry in entries]


def test_the_form_shows_what_is_stored(admin_client: Client, task: PeriodicTask) -> None:
    task.kwargs = json.dumps({"max_records": 7})
    task.save()
    page = admin_client.get(f"{LIST}{task.pk}/change/")
    form = page.context["adminform"].form
    shown = {name: form[name].value() for name in form.fields}
    assert shown == {"enabled": True, "every_seconds": 5} | PollOptions(max_records=7).model_dump()
    assert "1 to 50,000. Records stored in one transaction" in page.content.decode()


def test_what_is_saved_reaches_the_schedule_beat_and_the_history(admin_client: Client, task: PeriodicTask) -> None:
    before = PeriodicTasks.last_change()
    assert save(admin_client, task, every_seconds="2", max_records="1000") == ""
    assert (task.interval.every, task.interval.period, task.expire_seconds) == (2, "seconds", 2)
    assert json.loads(task.kwargs) == PollOptions(max_records=1000).model_dump()
    assert PeriodicTasks.last_change() != before
    assert history(task) == ["admin: Changed Interval: 5 → 2 and Records per batch: 10000 → 1000."]


def test_other_schedules_of_the_same_interval_stay(admin_client: Client, task: PeriodicTask) -> None:
    other = PeriodicTask.objects.create(name="other", task="celery.backend_cleanup", interval=task.interval)
    save(admin_client, task, every_seconds="9")
    other.refresh_from_db()
    assert other.interval.every == 5
    save(admin_client, task, every_seconds="5")
    assert other.interval_id == task.interval_id
    assert IntervalSchedule.objects.filter(every=5, period="seconds").count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("every_seconds", "0"), ("every_seconds", "3601"), ("every_seconds", "1.5"), ("timeout_ms", "99"),
        ("max_records", "50001"), ("time_budget_seconds", "61"), ("dead_letter_percent", "0"), ("max_records", ""),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(admin_client: Client, task: PeriodicTask, field: str, value: str) -> None:
    before = task.kwargs
    assert field in save(admin_client, task, **{field: value})
    assert (task.kwargs, task.interval.every, history(task)) == (before, 5, [])


def test_other_schedules_have_the_ordinary_form(admin_client: Client, task: PeriodicTask) -> None:
    trim = PeriodicTask.objects.get(name=TRIM_SCHEDULE)
    nightly = PeriodicTask.objects.create(name="nightly", task=task.task, crontab=CrontabSchedule.objects.create())
    half, _ = IntervalSchedule.objects.get_or_create(every=1_500_000, period=IntervalSchedule.MICROSECONDS)
    odd = PeriodicTask.objects.create(name="odd", task=task.task, interval=half)
    for path in (f"{trim.pk}/change/", f"{nightly.pk}/change/", f"{odd.pk}/change/", f"{task.pk}/change/?all=1"):
        assert "kwargs" in admin_client.get(LIST + path).context["adminform"].form.fields, path


def test_pause_and_resume_tell_beat_and_the_history(admin_client: Client, task: PeriodicTask) -> None:
    before = PeriodicTasks.last_change()
    assert act(admin_client, task, "pause") == [f"Paused: {POLL_SCHEDULE}. Beat applies it within 10 s."]
    assert (task.enabled, PeriodicTasks.last_change() != before) == (False, True)
    assert act(admin_client, task, "pause") == ["Already paused. Nothing changed."]
    act(admin_client, task, "resume", home="")
    assert task.enabled
    assert history(task) == ["admin: Paused.", "admin: Resumed."]


def test_poll_now_is_sent_with_the_schedules_own_values(
    admin_client: Client, task: PeriodicTask, valkey: Valkey
) -> None:
    with current_app.connection_for_read() as connection:
        queue = connection.SimpleQueue("poll")
        queue.clear()
        assert act(admin_client, task, "run") == [f"Sent: {POLL_SCHEDULE}. A free worker runs it now."]
        message = queue.get(timeout=60)
        message.ack()
        queue.close()
    assert message.headers["task"] == task.task
    assert message.payload[1] == json.loads(task.kwargs)
    assert not Tick.from_headers(message.headers).is_outdated(task.task)


def test_poll_now_without_redis_is_one_clear_message(
    admin_client: Client, task: PeriodicTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current_app.conf, "broker_write_url", f"redis://127.0.0.1:{free_port()}/0")
    (message,) = act(admin_client, task, "run")
    assert message.startswith(f"Not sent: {POLL_SCHEDULE}. Redis did not accept it: ")
    assert history(task) == []


def test_buttons_need_the_right_to_change(client: Client, task: PeriodicTask) -> None:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_periodictask"))
    client.force_login(user)
    assert client.post(f"{LIST}{task.pk}/act/", {"act": "pause"}).status_code == 403
    assert "Pause" not in client.get(f"{LIST}{task.pk}/change/").content.decode()
    assert PeriodicTask.objects.get(pk=task.pk).enabled
    assert client.get(f"{LIST}forecast/", VALUES).status_code == 200


def test_a_button_is_no_link(admin_client: Client, task: PeriodicTask) -> None:
    assert admin_client.get(f"{LIST}{task.pk}/act/").status_code == 405
    assert admin_client.post(f"{LIST}{task.pk}/act/", {"act": "jump"}).status_code == 400


# --- Forecast


def batches(topic: str, sizes: list[int], *, every: timedelta, task_id: str = "a", partitions: int = 1) -> None:
    """Transactions of one poll, each shared out over the partitions."""
    start = timezone.now() - timedelta(minutes=10)
    for number, size in enumerate(sizes):
        for partition in range(partitions):
            Batch.objects.create(
                topic=topic, partition=partition, generation=Batch.objects.count(), next_offset=size,
                stored=size // partitions, worker=task_id, task_id=task_id, created_at=start + number * every,
            )  # fmt: skip


def test_speed_is_measured_from_one_busy_batch_to_the_next() -> None:
    batches("t", [2000] * 11, every=timedelta(milliseconds=500), partitions=2)
    batches("t", [10] * 5, every=timedelta(milliseconds=10), task_id="idle")
    speed = measure_speed("t")
    assert speed is not None
    assert (speed.batches, round(speed.records_per_second), speed.processes) == (10, 4000, 2)


def test_nothing_measured_is_no_number(admin_client: Client, task: PeriodicTask) -> None:
    assert measure_speed("t") is None
    page = admin_client.get(f"{LIST}forecast/", VALUES).content.decode()
    assert "Speed not measured yet" in page


def test_values_out_of_range_have_no_forecast(admin_client: Client, task: PeriodicTask) -> None:
    page = admin_client.get(f"{LIST}forecast/", VALUES | {"every_seconds": "0"}).content.decode()
    assert "out of its range" in page


SPEED = PollSpeed(batches=10, records_per_second=5_000, seconds_per_batch=0.5, seconds_per_record=0.0001, processes=4)


def predict(every_seconds: float = 5, *, speed: PollSpeed | None = SPEED, lag: int = 60_000, **options: int) -> Any:
    values = PollOptions(**{"max_records": 5_000} | options)
    return forecast(speed, values, every_seconds=every_seconds, partitions=6, arriving=540_000.0, lag=lag)


def test_two_polls_store_twice_as_much_and_the_lag_goes() -> None:
    two = predict()
    assert (two.polls, two.per_minute, two.keeps_up) == (2, 600_000, True)
    assert two.seconds_to_clear == 60
    one = predict(every_seconds=10)
    assert (one.per_minute, one.keeps_up, one.seconds_to_clear) == (300_000, False, None)


def test_there_are_no_more_polls_than_processes_and_partitions() -> None:
    many = predict(every_seconds=1)
    assert (many.polls, many.surplus) == (4, 6)


def test_larger_batches_pay_their_fixed_cost_less_often_within_bounds() -> None:
    assert predict(max_records=50_000).per_minute == pytest.approx(2 * 60 * 50_000 / 5.5)
    assert predict(max_records=1).per_minute == 2 * 60 * 5_000 / 4


def test_a_gap_between_polls_is_told() -> None:
    assert predict(every_seconds=30, timeout_ms=2_000).idle_gap == 28
    assert predict().idle_gap == 0
