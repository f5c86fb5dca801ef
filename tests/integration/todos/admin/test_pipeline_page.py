"""The admin's first page: what it shows of a pipeline that is empty, busy, paused or broken, and what it costs."""

import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from pytest_django import DjangoAssertNumQueries

from devstack import Kafka
from devstack.ports import free_port
from tests.support.todos import make_todos
from tests.support.topic import Topic
from tests.support.waiting import Stopwatch, eventually
from todos.models import Batch, DeadLetter, OffsetLoss, PartitionLedger, Poller, Todo
from todos.monitoring import queries as history
from todos.monitoring.lag import annotated_ledgers
from todos.monitoring.overview import Overview, fetch_overview
from todos.monitoring.probes import close_services
from todos.operations.schedules import POLL_SCHEDULE, create_default_schedules

pytestmark = pytest.mark.django_db(transaction=True)
HOME, PANELS = "/admin/", "/admin/pipeline/"


@pytest.fixture(autouse=True)
def topic(settings: Any) -> str:
    """A name of its own, of a Kafka that is away unless a test takes the fixture `live`."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    servers = f"127.0.0.1:{free_port()}"
    settings.KAFKA = settings.KAFKA.model_copy(update={"topic": name, "group": name, "bootstrap_servers": servers})
    return name


@pytest.fixture
def live(kafka: Kafka, queue: redis.Redis, settings: Any, topic: str) -> Iterator[Topic]:
    settings.KAFKA = settings.KAFKA.model_copy(update={"bootstrap_servers": kafka.bootstrap_servers})
    live = Topic(settings.KAFKA)
    live.log().create_topic(3, 1)
    yield live
    close_services()
    live.producer.close()
    for log in live.logs:
        log.close()


def stored(topic: str, count: int, *, ago: timedelta = timedelta(), partition: int = 0) -> None:
    """One batch with the anchor it hangs on, as if it had been stored `ago`."""
    generation = Batch.objects.count()
    where = {"topic": topic, "partition": partition, "generation": generation}
    Batch.objects.create(**where, next_offset=0)
    Batch.objects.create(
        **where, first_offset=0, next_offset=count, stored=count, worker="w", created_at=timezone.now() - ago
    )


def until(check: Callable[[Overview], bool]) -> Overview:
    """What the page shows as soon as that is so; answers of services are kept for a few seconds."""

    def seen() -> Overview | None:
        now = fetch_overview()
        return now if check(now) else None

    return eventually(seen, seconds=20, what="the overview", every=0.2)  # type: ignore[return-value]


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


# --- States


def test_an_empty_pipeline_says_so(admin_client: Client) -> None:
    page = text_of(admin_client.get(HOME).content.decode())
    for words in (
        "nothing was stored in the last hour",
        "no partition was polled",
        "no todo in the last hour",
        "No poll is running",
    ):
        assert words in page


def test_a_busy_pipeline_shows_its_numbers(admin_client: Client, live: Topic) -> None:
    create_default_schedules()
    live.send_todos(20)
    live.send(b"not JSON")
    live.poll()
    live.send_todos(5, partition=1)

    until(lambda now: now.lag == 5)
    page = admin_client.get(PANELS).content.decode()
    text = text_of(page)

    assert "20 in the last hour" in text
    assert "not a valid TodoCreated event 1" in text
    assert "Kafka : ok answers, 3 partitions" in text
    assert re.search(r"1 5 \d", text)  # partition, lag, seconds behind
    assert "1 dead letter is open. Dead letters" in text
    assert f"{live.kafka.topic}/0: 0 to 20" in text


def test_lag_goes_away_when_a_poll_stores_it(live: Topic) -> None:
    create_default_schedules()
    live.send_todos(7)
    kafka = until(lambda now: now.lag == 7 and now.behind is not None).kafka.value
    assert kafka is not None
    assert 7 == kafka.accepted_per_minute[60]
    live.poll()
    now = until(lambda now: now.lag == 0)
    assert (now.behind, now.deleted_in) == (None, None)
    assert 7 == sum(now.last_hour.counts) == sum(now.last_day.counts)


def test_kafka_and_redis_away_are_states_not_errors(admin_client: Client, settings: Any, topic: str) -> None:
    settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{free_port()}/0"
    PartitionLedger.objects.create(topic=topic, partition=0, next_offset=5)

    def both_away() -> str:
        text = text_of(admin_client.get(HOME).content.decode())
        return text if "Kafka: unreachable" in text and "Redis: unreachable" in text else ""

    text = eventually(both_away, seconds=20, what="both to be reported away")
    assert "Kafka unreachable: the lag is unknown." in text


def test_services_that_hang_hold_nobody_up(settings: Any, admin_client: Client) -> None:
    with silent_port() as port:
        settings.KAFKA = settings.KAFKA.model_copy(update={"bootstrap_servers": f"127.0.0.1:{port}"})
        settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{port}/0"
        before, watch = set(threading.enumerate()), Stopwatch()
        pages = [admin_client.get(PANELS) for _ in range(5)]
        assert {200} == {page.status_code for page in pages}
        assert watch.seconds < 5 * 1.0 + 5  # WAIT_SECONDS each, for both services together
        probes = [thread for thread in set(threading.enumerate()) - before if thread.name == "pipeline-probe"]
        assert len(probes) <= 2  # one for each service, however many pages ask


@contextmanager
def silent_port() -> Iterator[int]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_paused_schedule_is_an_alarm(admin_client: Client, is_enabled: bool) -> None:
    create_default_schedules()
    task = PeriodicTask.objects.get(name=POLL_SCHEDULE)
    task.enabled = is_enabled
    task.save()
    assert (
        "Polling is paused: Poll todo-create." in text_of(admin_client.get(PANELS).content.decode())
    ) is not is_enabled


def test_alarms_of_partitions_and_losses_are_shown(admin_client: Client, topic: str) -> None:
    PartitionLedger.objects.create(topic=topic, partition=3, halt_text="<b>most of it</b> is bad")
    OffsetLoss.objects.create(topic=topic, partition=3, first_offset=0, next_offset=2)
    PartitionLedger.objects.create(topic=topic, partition=4)
    OffsetLoss.objects.create(topic=topic, partition=4, first_offset=0, next_offset=2, created_at="2020-01-01T00:00Z")
    page = admin_client.get(PANELS).content.decode()
    assert "Partition 3 is halted: &lt;b&gt;most of it&lt;/b&gt; is bad" in page
    assert "Partition 3: Kafka deleted 2 offsets in the last day before they were stored." in text_of(page)
    assert "Partition 4" not in text_of(page)


def test_running_polls_are_shown_with_their_partitions(admin_client: Client, topic: str) -> None:
    poll = Poller.objects.create(
        id=uuid.uuid4(), topic=topic, worker="host:1", expires_at=timezone.now() + timedelta(minutes=1)
    )
    Poller.objects.create(id=uuid.uuid4(), topic=topic, worker="dead", expires_at=timezone.now())
    for partition in (2, 0):
        PartitionLedger.objects.create(topic=topic, partition=partition, holder=poll.id)
    text = text_of(admin_client.get(PANELS).content.decode())
    assert "host:1 0, 2" in text
    assert "dead" not in text.replace("dead letters", "")


# --- Numbers


def test_each_period_has_what_was_stored_in_it(topic: str) -> None:
    for minutes, count in ((0, 1), (5, 10), (5, 20), (59, 100), (61, 1000)):
        stored(topic, count, ago=timedelta(minutes=minutes))
    stored("another topic", 5)

    hour = history.StoredOverTime(timedelta(minutes=1), 60).series(topic).counts
    assert (60, 131) == (len(hour), sum(hour))
    assert (1, 30) == (hour[-1], hour[-6])
    assert 1131 == sum(history.StoredOverTime(timedelta(minutes=15), 96).series(topic).counts)


def test_what_is_over_is_not_asked_for_again(topic: str) -> None:
    over_time = history.StoredOverTime(timedelta(minutes=1), 60)
    stored(topic, 10, ago=timedelta(minutes=30))
    first = over_time.series(topic)
    with CaptureQueriesContext(connection) as queries:
        stored(topic, 3)
        again = over_time.series(topic)
    assert (10, 13) == (sum(first.counts), sum(again.counts))
    (question,) = [query["sql"] for query in queries if "date_bin" in query["sql"]]
    (since,) = re.findall(r"created_at >= '([^']+)'", question)
    assert timezone.now() - timezone.datetime.fromisoformat(since) < timedelta(minutes=4)  # type: ignore[attr-defined]


def test_accepted_is_counted_by_the_time_of_the_records(live: Topic) -> None:
    now = time.time()
    for minutes, count in ((0, 1), (5, 10), (70, 100)):
        live.send(*[b"{}"] * count, partition=minutes % 3, timestamp_ms=int((now - 60 * minutes) * 1000))

    kafka = until(lambda now: bool(now.kafka.value and now.kafka.value.accepted_day)).kafka.value

    assert kafka is not None
    assert kafka.accepted_hour is not None
    assert kafka.accepted_day is not None
    assert (60, 11, 10) == (
        len(kafka.accepted_hour.counts),
        sum(kafka.accepted_hour.counts),
        max(kafka.accepted_hour.counts),
    )
    assert 111 == sum(kafka.accepted_day.counts)


def test_the_delay_is_that_of_the_last_hours_todos(admin_client: Client) -> None:
    assert history.delays() is None
    make_todos(100)
    Todo.objects.update(created_at=Now() - timedelta(minutes=61), stored_at=Now())
    assert history.delays() is None
    assert "no todo in the last hour" in text_of(admin_client.get(PANELS).content.decode())

    Todo.objects.filter(source_offset__lt=50).update(created_at=Now() - timedelta(minutes=59), stored_at=Now())
    Todo.objects.filter(source_offset__lt=48).update(created_at=Now())
    assert history.Delays(50, 0, 59 * 60) == history.delays()
    assert "59 min at the 99th percentile; newest 50 of the last hour" in text_of(
        admin_client.get(PANELS).content.decode()
    )


# --- Cost

PLANS: dict[str, Callable[[str], object]] = {
    "stored in the last hour": lambda topic: history.StoredOverTime(timedelta(minutes=1), 60).series(topic),
    "stored in the last day": lambda topic: history.StoredOverTime(timedelta(minutes=15), 96).series(topic),
    "delays": lambda topic: history.delays(),
    "dead letters": lambda topic: history.open_dead_letters(),
    "polls": history.running_polls,
    "batches": lambda topic: list(history.last_batches(topic)),
    "last poll": history.last_poll,
    "schedule": lambda topic: history.poll_schedule(),
    "ledger": lambda topic: list(annotated_ledgers(topic)),
}


@pytest.mark.parametrize("panel", PLANS)
def test_each_panel_is_one_query(panel: str, topic: str, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    create_default_schedules()
    make_todos(3)
    stored(topic, 3)
    DeadLetter.objects.create(topic=topic, partition=0, offset=0, reason="invalid", detail="d")
    with django_assert_num_queries(1):
        PLANS[panel](topic)


def test_no_panel_reads_all_todos_batches_or_letters(topic: str) -> None:
    """Where a table is large, PostgreSQL takes an index for every one of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO todos_todo SELECT gen_random_uuid(), 't', '', false, now() - n * interval '1 s', now(), now(),"
            " 0, n FROM generate_series(1, 20000) n"
        )
        cursor.execute(
            "INSERT INTO todos_batch (topic, partition, created_at, generation, next_offset, stored, duplicates,"
            " dead_letters, lost, bytes, milliseconds, worker, task_id) SELECT %s, 0, now() - n * interval '1 min', n,"
            " 0, 0, 0, 0, 0, 0, 0, '', '' FROM generate_series(1, 20000) n",
            [topic],
        )
        cursor.execute(
            'INSERT INTO todos_deadletter (topic, partition, "offset", reason, detail, headers, created_at, status)'
            " SELECT %s, 0, n, 'invalid', '', '[]', now(), 'discarded' FROM generate_series(1, 20000) n",
            [topic],
        )
        cursor.execute("ANALYZE")
    with CaptureQueriesContext(connection) as queries:
        for panel in PLANS.values():
            panel(topic)
    plans = {query["sql"]: plan_of(query["sql"]) for query in queries}
    assert len(PLANS) == len(plans)
    assert [] == [sql for sql, plan in plans.items() if re.search(r"Seq Scan on todos_(todo|batch|deadletter)", plan)]


def plan_of(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        return json.dumps(cursor.fetchall())


# --- Who may look


def test_who_may_not_see_the_ledger_gets_no_panels(client: Client) -> None:
    user = User.objects.create_user("staff", is_staff=True)
    client.force_login(user)
    assert "panels" not in client.get(HOME).content.decode()
    assert 403 == client.get(PANELS).status_code

    user.user_permissions.add(Permission.objects.get(codename="view_partitionledger"))
    assert "data-panel" in client.get(HOME).content.decode()
    assert 200 == client.get(PANELS).status_code


def test_strangers_are_sent_to_the_login(client: Client) -> None:
    assert 302 == client.get(PANELS).status_code
