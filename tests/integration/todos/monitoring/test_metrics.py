"""/metrics and /readyz/pipeline of Django's side."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
import yaml
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from prometheus_client.parser import text_string_to_metric_families

from devstack import Kafka, Valkey
from devstack.environment import ROOT
from devstack.ports import free_port
from tests.support.topic import Topic
from tests.support.waiting import eventually
from todos.ledger.batch_history import UNKNOWN_WRITER
from todos.ledger.poll_runs import PollSummary, record_run
from todos.models import PartitionLedger, PollRun
from todos.monitoring.probes import close_services
from todos.operations.schedules import create_default_schedules

pytestmark = pytest.mark.django_db(transaction=True)
MONITORING = ROOT / "docker" / "monitoring"
Samples = dict[tuple[str, str], float]


@pytest.fixture
def live(kafka: Kafka, valkey: Valkey, settings: Any) -> Iterator[Topic]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    settings.CELERY_BROKER_URL = f"{valkey.url.rpartition('/')[0]}/9"
    settings.KAFKA = settings.KAFKA.model_copy(
        update={"topic": name, "group": name, "bootstrap_servers": kafka.bootstrap_servers}
    )
    topic = Topic(settings.KAFKA)
    topic.log().create_topic(2, 1)
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as queue:
        queue.flushdb()
        yield topic
        queue.flushdb()
    close_services()
    topic.producer.close()
    for log in topic.logs:
        log.close()


def samples(client: Client) -> Samples:
    """By name and the value of its one label."""
    text = client.get("/metrics").content.decode()
    families = list(text_string_to_metric_families(text))
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in families
        for sample in family.samples
    }


def until(client: Client, check: Callable[[Samples], bool]) -> Samples:
    """Wait, since the results of Kafka and Redis are kept for a few seconds."""

    def expected_samples() -> Samples:
        now = samples(client)
        return now if check(now) else {}

    return eventually(expected_samples, seconds=20, what="the metrics", every=0.2)


def test_metrics_tell_what_was_stored_and_what_waits(client: Client, live: Topic) -> None:
    create_default_schedules()
    live.send_todos(20)
    live.send(b"not JSON", partition=1)
    live.poll(timeout_ms=500)
    live.send_todos(5, partition=1)

    now = until(client, lambda now: now.get(("todo_lag_records", "1")) == 5)

    assert (20, 0) == (now["todo_stored_total", "0"], now["todo_stored_total", "1"])
    assert 0 == now["todo_lag_records", "0"]
    assert (1, 1) == (now["todo_dead_letters_total", "invalid"], now["todo_dead_letters_open", "invalid"])
    assert (0, 0) == (now["todo_dead_letters_total", "empty"], now["todo_lost_offsets_total", "0"])
    assert 21 == now["todo_batch_records_sum", ""]
    assert now["todo_batch_records_count", ""] == now["todo_batch_seconds_count", ""] >= 2
    assert 0 < now["todo_retention_seconds", "1"] <= 7 * 86_400
    assert ("todo_retention_seconds", "0") not in now
    assert 0 <= now["todo_last_poll_age_seconds", ""] < 60
    assert (1, 1) == (now["todo_part_up", "kafka"], now["todo_part_up", "database"])
    assert (0, 0) == (now["todo_polls_running", ""], now["todo_polling_paused", ""])


def test_without_kafka_the_rest_is_told(client: Client, live: Topic, settings: Any) -> None:
    live.send_todos(3)
    live.poll(timeout_ms=300)
    settings.KAFKA = settings.KAFKA.model_copy(update={"bootstrap_servers": f"127.0.0.1:{free_port()}"})

    now = until(client, lambda now: now.get(("todo_part_up", "kafka")) == 0)

    assert 3 == now["todo_stored_total", "0"]
    assert [] == [name for name, _ in now if name in ("todo_lag_records", "todo_retention_seconds")]


@pytest.fixture
def no_database() -> Iterator[None]:
    connection.close()
    original, connection.settings_dict = connection.settings_dict, {**connection.settings_dict, "PORT": "1"}
    yield
    connection.close()
    connection.settings_dict = original


@pytest.mark.usefixtures("no_database")
def test_without_a_database_that_is_told(client: Client) -> None:
    assert {("todo_part_up", "database"): 0} == samples(client)
    answer = client.get("/readyz/pipeline")
    assert (503, "unreachable or not migrated") == (answer.status_code, answer.json()["database"])


def test_every_metric_of_dashboard_and_alerts_exists(client: Client, live: Topic) -> None:
    create_default_schedules()
    live.send_todos(1)
    live.poll(timeout_ms=300)
    live.send_todos(1)
    known = {name for name, _ in until(client, lambda now: ("todo_retention_seconds", "0") in now)}

    dashboard = json.loads((MONITORING / "grafana" / "dashboards" / "todo-pipeline.json").read_text())
    expressions = {target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])}
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]:
        expressions |= {rule["expr"] for rule in group["rules"]}
    names = {name for expression in expressions for name in re.findall(r"\btodo_\w+", expression)}

    assert {name for name in names if not name.startswith("todo_edge_")} <= known
    assert "todo_stored_total" in names


# --- /readyz/pipeline


def run_ended(topic: str, ago: timedelta) -> None:
    record_run(topic, UNKNOWN_WRITER, timezone.now(), PollSummary())
    newest = PollRun.objects.filter(topic=topic).latest("id")
    PollRun.objects.filter(pk=newest.pk).update(started_at=timezone.now() - ago, ended_at=timezone.now() - ago)


def ready(client: Client, check: Callable[[int, dict[str, str]], bool]) -> None:
    def is_so() -> bool:
        answer = client.get("/readyz/pipeline")
        return check(answer.status_code, answer.json())

    assert eventually(is_so, seconds=20, what="/readyz/pipeline", every=0.2)


def test_a_pipeline_that_polls_is_ready_and_one_that_stopped_is_not(client: Client, live: Topic, settings: Any) -> None:
    create_default_schedules()
    ready(client, lambda code, parts: code == 503 and parts["beat"] == "no poll yet")

    run_ended(live.kafka.topic, timedelta(seconds=1))
    ready(client, lambda code, parts: code == 200 and parts["status"] == "ok")

    PollRun.objects.all().delete()
    run_ended(live.kafka.topic, timedelta(seconds=28))
    ready(client, lambda code, parts: code == 503 and "silent" in parts["beat"])

    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as queue:
        queue.rpush("poll", "a tick")
    ready(client, lambda code, parts: code == 503 and parts["workers"] == "no worker takes the waiting ticks")


def test_paused_polling_is_ready(client: Client, live: Topic) -> None:
    create_default_schedules()
    run_ended(live.kafka.topic, timedelta(hours=1))
    for task in PeriodicTask.objects.all():
        task.enabled = False
        task.save()

    ready(client, lambda code, parts: code == 200 and parts["beat"] == "polling is paused")


def test_redis_away_is_told(client: Client, live: Topic, settings: Any) -> None:
    create_default_schedules()
    settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{free_port()}/0"

    ready(client, lambda code, parts: code == 503 and parts["redis"].startswith("unreachable"))
    run_ended(live.kafka.topic, timedelta(minutes=1))
    ready(client, lambda code, parts: parts["beat"] == "unknown while Redis is unavailable")


def test_a_ledger_of_another_topic_is_not_counted(client: Client, live: Topic) -> None:
    PartitionLedger.objects.create(topic="another", partition=0, stored_total=7)
    assert [] == [name for name, _ in samples(client) if name == "todo_stored_total"]


# --- Pages without a database


@pytest.mark.usefixtures("no_database")
def test_without_a_database_people_get_a_page_and_programs_a_sentence(client: Client) -> None:
    client.cookies["sessionid"] = "x" * 32
    client.raise_request_exception = False
    page, answer = client.get("/admin/"), client.get("/api/todos/")

    assert (503, "5") == (page.status_code, page["Retry-After"])
    assert "wait in Kafka until the database is back" in page.content.decode()
    assert (503, "5") == (answer.status_code, answer["Retry-After"])
    assert "The database does not answer at the moment." == answer.json()["detail"]


def test_a_fault_of_ours_is_no_excuse(client: Client) -> None:
    client.raise_request_exception = False
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE todos_todo RENAME TO renamed")
    try:
        assert 500 == client.get("/api/todos/").status_code
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE renamed RENAME TO todos_todo")
