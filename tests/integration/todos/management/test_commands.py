"""manage.py, as a person or a script uses it."""

import io
import itertools
import json
import uuid
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from kafka import KafkaProducer

from devstack import Kafka
from edge_api.shared.kafka_settings import KafkaSettings
from tests.support.topic import event
from todos.event_log import LogUnavailable
from todos.ingest.options import PollOptions, TrimOptions
from todos.kafka.consumer import KafkaLog
from todos.models import PartitionLedger, Todo
from todos.operations.schedules import POLL_SCHEDULE, TRIM_SCHEDULE

pytestmark = pytest.mark.django_db(transaction=True)


def run(command: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(command, stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def topic(kafka: Kafka, settings: Any) -> KafkaSettings:
    name = f"test-{uuid.uuid4().hex[:8]}"
    names: KafkaSettings = settings.KAFKA.model_copy(update={"topic": name, "group": name})
    settings.KAFKA = names
    return names


def send(topic: KafkaSettings, *values: bytes) -> None:
    producer = KafkaProducer(**topic.client_options(), acks="all")
    for value in values:
        producer.send(topic.topic, value, partition=0)
    producer.flush(30)
    producer.close()


def test_create_topics_makes_six_partitions_and_can_be_repeated(topic: KafkaSettings) -> None:
    assert run("create_topics") == f"created topic {topic.topic} with 6 partitions\n"
    assert run("create_topics") == f"topic {topic.topic} exists with 6 partitions\n"
    assert PartitionLedger.objects.filter(topic=topic.topic).count() == 6


def test_create_topics_waits_for_a_broker_that_does_not_know_the_topic_yet(
    topic: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    partitions, calls = KafkaLog.partitions, itertools.count()

    def late(log: KafkaLog) -> list[int]:
        if not next(calls):
            raise LogUnavailable("topic does not exist")
        return partitions(log)

    monkeypatch.setattr(KafkaLog, "partitions", late)
    assert run("create_topics") == f"created topic {topic.topic} with 6 partitions\n"
    assert 6 == PartitionLedger.objects.filter(topic=topic.topic).count()


def test_create_topics_adds_partitions_and_takes_none_away(topic: KafkaSettings) -> None:
    run("create_topics", partitions=2)
    assert run("create_topics", partitions=4) == f"topic {topic.topic} had 2 partitions and has 4 now\n"
    assert run("create_topics", partitions=3) == f"topic {topic.topic} exists with 4 partitions\n"


def test_create_schedules_makes_the_default_where_it_is_missing() -> None:
    assert run("create_schedules") == f"schedule '{POLL_SCHEDULE}' created\nschedule '{TRIM_SCHEDULE}' created\n"
    for name, task_name, defaults in (
        (POLL_SCHEDULE, "todos.tasks.poll_todos", PollOptions()),
        (TRIM_SCHEDULE, "todos.tasks.trim_batches", TrimOptions()),
    ):
        task = PeriodicTask.objects.get(name=name)
        assert (task.task, task.enabled) == (task_name, True)
        assert defaults.parse(json.loads(task.kwargs)) == defaults
        assert task.expire_seconds <= task.interval.every


def test_create_schedules_never_touches_an_operators_edits() -> None:
    run("create_schedules")
    slower = IntervalSchedule.objects.create(every=60, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.filter(name=TRIM_SCHEDULE).delete()
    PeriodicTask.objects.update(interval=slower, kwargs='{"max_records": 7}', enabled=False)
    edited = PeriodicTask.objects.values().get()

    expected = f"schedule '{POLL_SCHEDULE}' exists, not changed\nschedule '{TRIM_SCHEDULE}' created\n"
    assert run("create_schedules") == expected
    assert PeriodicTask.objects.values().get(name=POLL_SCHEDULE) == edited
    assert PeriodicTask.objects.count() == 2


def test_poll_todos_drains_the_topic_and_says_what_it_did(topic: KafkaSettings) -> None:
    run("create_topics")
    send(topic, event(title="one"), b"poison", event(title="two"))

    out = run("poll_todos", timeout_ms=3000)

    assert out.startswith("stored 2 todos in ")
    assert out.endswith("(0 duplicates, 1 dead letters, 0 lost)\n")
    assert set(Todo.objects.values_list("title", flat=True)) == {"one", "two"}


def test_poll_todos_refuses_nonsense_by_name(topic: KafkaSettings) -> None:
    with pytest.raises(CommandError, match="max_records: input should be greater than or equal to 1"):
        run("poll_todos", max_records=0)


def test_pipeline_status_shows_what_is_stored_and_what_is_not(topic: KafkaSettings) -> None:
    run("create_topics", partitions=2)
    send(topic, event(), event(), event())
    PartitionLedger.objects.filter(topic=topic.topic, partition=0).update(next_offset=1)

    out = io.StringIO()
    with pytest.raises(CommandError, match="Beat: no schedule for the poll"):
        call_command("pipeline_status", stdout=out)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.getvalue().splitlines()]

    assert [row[:6] + row[7:] for row in rows if row] == [
        ["0", "1", "3", "2", "never", "-", "0"],
        ["1", "0", "0", "0", "never", "-", "0"],
        ["all", "", "", "2", "", "", "0"],
    ]


@pytest.mark.parametrize("command", ["create_topics", "pipeline_status", "poll_todos", "audit"])
def test_kafka_away_is_one_line_and_a_failure(kafka_away: str, command: str) -> None:
    options = {"time_budget_seconds": 1} if command == "poll_todos" else {}
    with pytest.raises(CommandError) as failure:
        run(command, **options)
    assert "\n" not in str(failure.value) or command == "pipeline_status"
    assert kafka_away in str(failure.value) or command == "poll_todos"
