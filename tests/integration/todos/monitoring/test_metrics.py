"""/metrics of Django's side, and its pages without a database."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families

from devstack.environment import ROOT
from devstack.ports import free_port
from tests.support.topic import Topic
from tests.support.waiting import eventually
from todos.models import DeadLetter, DeadLetterTotal, PartitionLedger
from todos.operations.rewind import rewind
from todos.operations.schedules import create_default_schedules

pytestmark = pytest.mark.django_db(transaction=True)
MONITORING = ROOT / "docker" / "monitoring"
Samples = dict[tuple[str, str], float]


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
    live.poll()
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
    assert (0, 0) == (now["todo_problem", "kafka-unavailable"], now["todo_problem", "beat-silent"])


# --- Dead letters


def letters(count: int, **fields: Any) -> None:
    first = DeadLetter.objects.count()
    places = [{"topic": "any", "partition": 0, "offset": first + number, "detail": "d"} for number in range(count)]
    DeadLetter.objects.bulk_create(DeadLetter(**place, **fields) for place in places)


def test_dead_letters_are_counted_once_however_often_they_are_read(
    client: Client, make_memory_topic: Callable[..., Topic], settings: Any
) -> None:
    topic = make_memory_topic(partitions=2)
    settings.KAFKA = topic.kafka.model_copy(update={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    for partition in (0, 1):
        topic.send(b"x", None, partition=partition, key=b"k")
    assert 4 == topic.poll().dead_letters
    rewind(topic.kafka.topic, 0, 0)
    assert 2 == topic.poll().dead_letters
    DeadLetter.objects.filter(reason="empty").update(status="discarded")

    now = samples(client)

    assert (2, 2) == (now["todo_dead_letters_total", "invalid"], now["todo_dead_letters_total", "empty"])
    assert (2, 0) == (now["todo_dead_letters_open", "invalid"], now["todo_dead_letters_open", "empty"])


def test_letters_from_before_the_totals_are_counted_by_the_migration() -> None:
    call_command("migrate", "todos", "0017", verbosity=0)
    letters(3, reason="invalid")
    call_command("migrate", "todos", verbosity=0)
    letters(2, reason="invalid")
    assert [("any", 0, "invalid", 5)] == list(
        DeadLetterTotal.objects.values_list("topic", "partition", "reason", "letters")
    )


def test_no_scrape_reads_all_dead_letters(client: Client, settings: Any) -> None:
    settings.KAFKA = settings.KAFKA.model_copy(update={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    letters(5_000, reason="invalid", status="discarded")
    letters(10, reason="empty")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE todos_deadletter")
    with CaptureQueriesContext(connection) as queries:
        now = samples(client)
    assert (5_000, 10) == (now["todo_dead_letters_total", "invalid"], now["todo_dead_letters_open", "empty"])
    with connection.cursor() as cursor:
        for sql in (query["sql"] for query in queries if query["sql"].startswith("SELECT")):
            cursor.execute(f"EXPLAIN {sql}")
            assert "Seq Scan on todos_deadletter " not in str(cursor.fetchall())


def test_without_kafka_the_rest_is_told(client: Client, live: Topic, settings: Any) -> None:
    live.send_todos(3)
    live.poll()
    settings.KAFKA = settings.KAFKA.model_copy(update={"bootstrap_servers": f"127.0.0.1:{free_port()}"})

    now = until(client, lambda now: now.get(("todo_part_up", "kafka")) == 0)

    assert (3, 1) == (now["todo_stored_total", "0"], now["todo_problem", "kafka-unavailable"])
    assert [] == [name for name, _ in now if name in ("todo_lag_records", "todo_retention_seconds")]


@pytest.mark.usefixtures("no_database")
def test_without_a_database_that_is_told(client: Client) -> None:
    now = samples(client)
    assert (0, 1) == (now["todo_part_up", "database"], now["todo_problem", "database-unavailable"])
    assert {"todo_part_up", "todo_problem"} == {name for name, _ in now}


def test_every_metric_of_dashboard_and_alerts_exists(client: Client, live: Topic) -> None:
    create_default_schedules()
    live.send_todos(1)
    live.poll()
    live.send_todos(1)
    known = {name for name, _ in until(client, lambda now: ("todo_retention_seconds", "0") in now)}

    dashboard = json.loads((MONITORING / "grafana" / "dashboards" / "todo-pipeline.json").read_text())
    expressions = {target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])}
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]:
        expressions |= {rule["expr"] for rule in group["rules"]}
    names = {name for expression in expressions for name in re.findall(r"\btodo_\w+", expression)}

    assert {name for name in names if not name.startswith("todo_edge_")} <= known
    assert "todo_stored_total" in names


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
