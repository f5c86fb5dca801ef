"""manage.py pause_polling and resume_polling: nothing is stored meanwhile, and everything afterwards."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from tests.support.manage import run
from tests.support.topic import Topic
from todos.ingest.options import PollOptions
from todos.models import Poller
from todos.operations.schedules import POLL_SCHEDULE, POLL_TASK, TRIM_SCHEDULE, create_default_schedules

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _schedules(topic: Topic) -> None:
    create_default_schedules()


def enabled() -> dict[str, bool]:
    return dict(PeriodicTask.objects.values_list("name", "enabled"))


def add_schedule(name: str, **fields: Any) -> None:
    interval = IntervalSchedule.objects.get(every=5)
    PeriodicTask.objects.create(name=name, task=POLL_TASK, interval=interval, **fields)


def test_polling_is_paused_and_resumed_again_and_again(topic: Topic) -> None:
    topic.send_todos(3)
    waiting = f"3 records of {topic.kafka.topic} are not stored yet; Kafka may delete the oldest in 6 days 23 h"
    for command, said, is_on in (
        ("pause_polling", f"paused '{POLL_SCHEDULE}', every 5 seconds\n", False),
        ("pause_polling", f"was paused already: '{POLL_SCHEDULE}', every 5 seconds\n", False),
        ("resume_polling", f"resumed '{POLL_SCHEDULE}', every 5 seconds\n", True),
        ("resume_polling", f"was resumed already: '{POLL_SCHEDULE}', every 5 seconds\n", True),
    ):
        done = run(command)
        assert (done.code, done.said) == (0, "")
        assert done.out.startswith(said)
        assert waiting in done.out
        assert {POLL_SCHEDULE: is_on, TRIM_SCHEDULE: True} == enabled()


def test_beat_is_told_exactly_when_something_changed() -> None:
    for command, tells in (("pause_polling", True), ("pause_polling", False), ("resume_polling", True)):
        before = PeriodicTasks.last_change()
        run(command)
        assert tells == (PeriodicTasks.last_change() != before)


def test_everything_else_that_an_operator_tuned_stays() -> None:
    PeriodicTask.objects.filter(name=POLL_SCHEDULE).update(kwargs='{"max_records": 7}', description="mine")
    run("pause_polling")
    run("resume_polling")
    tuned = PeriodicTask.objects.get(name=POLL_SCHEDULE)
    assert ('{"max_records": 7}', "mine", 5) == (tuned.kwargs, tuned.description, tuned.expire_seconds)


def test_one_of_several_schedules() -> None:
    add_schedule("another", enabled=False)
    run("pause_polling", POLL_SCHEDULE)
    run("resume_polling", POLL_SCHEDULE)
    assert {POLL_SCHEDULE: True, "another": False, TRIM_SCHEDULE: True} == enabled()
    run("resume_polling", "another")
    assert {POLL_SCHEDULE: True, "another": True, TRIM_SCHEDULE: True} == enabled()
    done = run("pause_polling", POLL_SCHEDULE, "--wait")
    assert (1, "not waiting, others still poll: another") == (done.code, done.said)


def test_resume_leaves_off_what_no_pause_switched_off() -> None:
    add_schedule("another", enabled=False)
    run("pause_polling")
    run("pause_polling")
    out = run("resume_polling").out
    assert out.startswith(f"resumed '{POLL_SCHEDULE}', every 5 seconds\nnot changed: 'another', every 5 seconds\n")
    assert {POLL_SCHEDULE: True, "another": False, TRIM_SCHEDULE: True} == enabled()


def test_what_was_switched_on_after_a_pause_and_off_for_good_is_not_resumed(admin_client: Client) -> None:
    task = PeriodicTask.objects.get(name=POLL_SCHEDULE)
    page = f"/admin/django_celery_beat/periodictask/{task.pk}/change/"
    values = PollOptions().model_dump() | {"every_seconds": 5}
    run("pause_polling")
    assert 302 == admin_client.post(page, values | {"enabled": "on"}).status_code
    assert 302 == admin_client.post(page, values).status_code
    done = run("resume_polling")
    assert (1, "no schedule was paused; to resume a disabled one, name it") == (
        done.code,
        done.said,
    )
    assert not enabled()[POLL_SCHEDULE]


def test_the_button_of_the_admin_is_a_pause(admin_client: Client) -> None:
    task = PeriodicTask.objects.get(name=POLL_SCHEDULE)
    admin_client.post(f"/admin/django_celery_beat/periodictask/{task.pk}/act/", {"act": "pause"})
    assert not enabled()[POLL_SCHEDULE]
    run("resume_polling")
    assert enabled()[POLL_SCHEDULE]


def test_it_says_that_polls_run() -> None:
    make_poller(seconds=30)
    assert "\n1 polls run; each ends after its batch." in run("pause_polling").out


def test_wait_ends_when_no_poll_runs() -> None:
    make_poller(seconds=1)
    assert "\nno poll runs\n" in run("pause_polling", "--wait").out
    assert not Poller.objects.filter(expires_at__gt=timezone.now()).exists()


def make_poller(*, seconds: float) -> None:
    expires_at = timezone.now() + timedelta(seconds=seconds)
    Poller.objects.create(
        id="7f3c1c1e-5d0f-4c57-9d1c-3f1f0a1e9a11", topic=django_settings.KAFKA.topic, expires_at=expires_at
    )


@pytest.mark.parametrize("command", ["pause_polling", "resume_polling"])
@pytest.mark.usefixtures("kafka_away")
def test_kafka_away_does_not_keep_it_from_switching(command: str) -> None:
    PeriodicTask.objects.update(enabled=command == "pause_polling")
    done = run(command, POLL_SCHEDULE)
    assert done.code == 0
    assert "the number of waiting records is unknown: " in done.out
    assert (command == "resume_polling") == enabled()[POLL_SCHEDULE]


def test_a_wrong_name_changes_nothing() -> None:
    done = run("pause_polling", POLL_SCHEDULE, "absent", TRIM_SCHEDULE)
    expected = f"{TRIM_SCHEDULE}, absent: no schedule of the poll; there are {POLL_SCHEDULE}"
    assert (2, expected) == (done.code, done.said)
    assert {POLL_SCHEDULE: True, TRIM_SCHEDULE: True} == enabled()


def test_without_any_schedule_it_says_what_makes_one() -> None:
    PeriodicTask.objects.all().delete()
    done = run("pause_polling")
    assert (2, "there is no schedule of the poll; manage.py create_schedules makes it") == (done.code, done.said)
