"""/readyz/pipeline: every fault is told with its cause, and with 503 where an operator must act."""

import uuid
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from devstack.ports import free_port
from tests.support.sessions import as_plain_role, open_transaction
from tests.support.topic import Topic, event
from tests.support.waiting import eventually
from todos.event_log import LogUnavailable
from todos.kafka.consumer import KafkaLog
from todos.ledger.batch_history import UNKNOWN_WRITER
from todos.ledger.held_rows import held_rows
from todos.ledger.leases import Leases
from todos.ledger.poll_runs import PollSummary, record_run
from todos.models import ClockSkew, HaltReason, PartitionLedger, Poller, PollRun
from todos.monitoring.database import locked_tables
from todos.operations.schedules import create_default_schedules, switch_polling

pytestmark = pytest.mark.django_db(transaction=True)
Told = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def schedules(live: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer of a service is kept for the next page."""
    monkeypatch.setattr("todos.monitoring.probes.FRESH_SECONDS", 0)
    create_default_schedules()


def run_ended(topic: str, ago: timedelta = timedelta(seconds=1), error: str = "") -> None:
    """A poll that started and ended so long ago."""
    record_run(topic, UNKNOWN_WRITER, PollSummary(failures=int(bool(error)), last_error=error))
    newest = PollRun.objects.filter(topic=topic).latest("id")
    PollRun.objects.filter(pk=newest.pk).update(started_at=timezone.now() - ago, ended_at=timezone.now() - ago)


def probe(client: Client) -> tuple[int, str, Told]:
    """The status code, the status and the problems by code."""
    answer = client.get("/readyz/pipeline")
    body = answer.json()
    return answer.status_code, body["status"], {problem["code"]: problem for problem in body["problems"]}


def until(client: Client, code: int, *problems: str) -> Told:
    """Wait until these are the problems, and no others; the first answer of a service may be late."""

    seen: list[Told] = []

    def is_so() -> bool:
        status_code, _, told = probe(client)
        seen.append(told)
        return (status_code, sorted(problems)) == (code, sorted(told))

    eventually(is_so, seconds=20, what=f"{code} {problems}", every=0.1)
    return seen[-1]


# --- Beat and workers


def test_a_pipeline_that_polls_is_ready_and_one_that_stopped_is_not(client: Client, live: Topic, settings: Any) -> None:
    until(client, 503, "beat-silent")

    run_ended(live.kafka.topic)
    until(client, 200)
    assert (200, "ok", {}) == probe(client)

    PollRun.objects.all().delete()
    run_ended(live.kafka.topic, timedelta(seconds=28))
    silent = until(client, 503, "beat-silent")["beat-silent"]
    assert PollRun.objects.get().started_at.isoformat(timespec="seconds") == silent["since"]
    assert ("docs/runbook.md#beat-silent", None) == (silent["runbook"], silent["partition"])

    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as queue:
        queue.rpush("poll", "a tick")
    until(client, 503, "workers-silent")
    busy = Leases(live.kafka.topic, "a worker that takes long")
    busy.heartbeat()
    Poller.objects.update(started_at=timezone.now() - timedelta(seconds=28))
    until(client, 200)
    Poller.objects.all().delete()

    PeriodicTask.objects.all().delete()
    until(client, 503, "no-schedule")


def test_a_pause_is_no_fault_until_todos_wait(client: Client, live: Topic) -> None:
    run_ended(live.kafka.topic, timedelta(hours=1))
    switch_polling(enabled=False)
    assert until(client, 200, "polling-paused")["polling-paused"]["since"]

    live.send_todos(3)
    told = until(client, 503, "paused-with-backlog")
    assert told["paused-with-backlog"]["text"].endswith("; 3 todos wait in Kafka")


# --- Redis


def test_redis_that_is_away_is_at_fault_and_not_beat(client: Client, settings: Any) -> None:
    settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{free_port()}/0"
    assert until(client, 503, "redis-unavailable")["redis-unavailable"]["since"]


@pytest.mark.parametrize(
    ("break_it", "mend", "code"),
    [
        (["REPLICAOF", "127.0.0.1", "9"], ["REPLICAOF", "NO", "ONE"], "redis-read-only"),
        (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"], "redis-refuses-writes"),
    ],
    ids=["replica", "out of memory"],
)
def test_redis_that_only_answers_reads_is_at_fault(
    client: Client, settings: Any, break_it: list[str], mend: list[str], code: str
) -> None:
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as server:
        server.execute_command(*break_it)
        try:
            until(client, 503, code)
        finally:
            server.execute_command(*mend)


# --- PostgreSQL


@pytest.mark.usefixtures("no_database")
def test_a_database_that_is_away_is_at_fault_and_nothing_else(client: Client) -> None:
    until(client, 503, "database-unavailable")


def test_a_read_only_database_is_at_fault_and_not_beat(client: Client, live: Topic) -> None:
    run_ended(live.kafka.topic, timedelta(seconds=28))
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    try:
        told = until(client, 503, "database-read-only")
    finally:
        connection.close()
    assert "ReadOnlySqlTransaction" in told["database-read-only"]["text"]
    until(client, 200)  # beat has had no chance yet


def test_a_full_disk_is_at_fault_and_not_beat(client: Client) -> None:
    """As PostgreSQL refuses a row of a full tablespace: no disk can be filled here."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'No space left on device' USING ERRCODE = 'disk_full'; END $$;"
            "CREATE TRIGGER full_disk BEFORE INSERT ON todos_pollrun EXECUTE FUNCTION refuse()"
        )
    try:
        told = until(client, 503, "database-refuses-writes")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION refuse CASCADE")
    assert "DiskFull: No space left on device" in told["database-refuses-writes"]["text"]


@pytest.mark.parametrize(
    ("table", "mode", "seconds"),
    [
        ("todos_todo", "EXCLUSIVE", 0),
        ("todos_todo", "ACCESS EXCLUSIVE", 60),
        ("django_celery_beat_periodictask", "ACCESS EXCLUSIVE", 60),
    ],
)
def test_a_locked_table_is_told_with_the_session_that_locked_it(
    client: Client, monkeypatch: pytest.MonkeyPatch, table: str, mode: str, seconds: float
) -> None:
    """Where not even reads get past the lock, the probe knows at once; a shorter lock is no problem otherwise."""
    monkeypatch.setattr("todos.monitoring.database.LOCKED_SECONDS", seconds)
    with open_transaction("a forgotten psql") as other:
        other.execute(f"LOCK TABLE {table} IN {mode} MODE")
        told = until(client, 503, "table-locked")["table-locked"]
    assert f"table {table} is locked by process " in told["text"]
    assert "a forgotten psql" in told["text"]
    assert told["since"]


def test_a_held_ledger_row_is_told_with_its_partition_and_session(
    client: Client, live: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todos.ledger.held_rows.IDLE_PATIENCE_SECONDS", 0)
    live.poll()
    with open_transaction("a forgotten psql") as other:
        other.execute(
            "SELECT FROM todos_partitionledger WHERE topic = %s AND partition = 1 FOR UPDATE", [live.kafka.topic]
        )
        told = until(client, 503, "row-held")["row-held"]
    assert (1, True) == (told["partition"], told["since"] is not None)
    assert told["text"].startswith("partition 1: its ledger is locked by session ")
    until(client, 200)


def test_a_lock_of_a_session_that_the_role_may_not_see_is_not_reported_at_once(live: Topic) -> None:
    live.poll()
    with open_transaction() as other:
        other.execute("LOCK TABLE todos_todo IN EXCLUSIVE MODE")
        other.execute("SELECT FROM todos_partitionledger FOR UPDATE")
        with as_plain_role():
            assert ([], []) == (locked_tables(), held_rows(live.kafka.topic))


# --- Polls that fail


def test_stores_that_fail_are_told_with_the_error_until_one_succeeds(
    client: Client, live: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todos.ingest.store.LOCK_TIMEOUT", "100ms")
    live.send_todos(3)
    with open_transaction("a migration") as other:
        other.execute("LOCK TABLE todos_todo IN EXCLUSIVE MODE")
        for _ in range(2):
            live.poll(timeout_ms=2000)
        told = until(client, 503, "store-failing")["store-failing"]
    assert "LockNotAvailable" in told["text"]
    first = PollRun.objects.order_by("id").first()
    assert first is not None
    assert first.started_at.isoformat(timespec="seconds") == told["since"]

    live.poll(timeout_ms=2000)
    until(client, 200)


def test_an_error_without_a_text_is_told_beside_a_halted_partition(client: Client, live: Topic) -> None:
    run_ended(live.kafka.topic, error="MemoryError")
    halt = {"halt_reason": HaltReason.UNREADABLE, "halt_text": "it waits for an operator"}
    PartitionLedger.objects.create(topic=live.kafka.topic, partition=1, halted_since=timezone.now(), **halt)
    told = until(client, 503, "partition-halted", "store-failing")
    assert "polls store nothing: MemoryError" == told["store-failing"]["text"]


def test_polls_that_do_not_reach_kafka_are_told_while_the_web_process_does(client: Client, live: Topic) -> None:
    run_ended(live.kafka.topic, error="LogUnavailable: NoBrokersAvailable")
    until(client, 503, "read-failing")


def test_kafka_that_is_away_is_at_fault_and_not_the_polls(client: Client, live: Topic, settings: Any) -> None:
    run_ended(live.kafka.topic, error="LogUnavailable: NoBrokersAvailable")
    settings.KAFKA = settings.KAFKA.model_copy(update={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    until(client, 503, "kafka-unavailable")


# --- Partitions that do not advance


def test_a_partition_that_no_poll_advances_is_told_whatever_the_cause(client: Client, live: Topic) -> None:
    a_minute_ago = timezone.now() - timedelta(minutes=1)
    live.send(event(), partition=1, timestamp_ms=int(a_minute_ago.timestamp() * 1000))
    run_ended(live.kafka.topic)
    told = until(client, 503, "partition-stalled")["partition-stalled"]
    assert (1, a_minute_ago.isoformat(timespec="seconds")) == (told["partition"], told["since"])

    live.poll(timeout_ms=2000)
    until(client, 200)


@pytest.mark.parametrize(
    ("reason", "code"),
    [(HaltReason.UNREADABLE, "partition-halted"), (HaltReason.LOG_DIVERGED, "log-diverged")],
)
def test_a_halted_partition_is_told_with_its_number_and_since_when(
    client: Client, live: Topic, reason: HaltReason, code: str
) -> None:
    run_ended(live.kafka.topic)
    halt = {"halt_reason": reason, "halt_text": "it waits for an operator", "halted_since": "2026-01-02T03:04:05Z"}
    PartitionLedger.objects.create(topic=live.kafka.topic, partition=1, **halt)
    told = until(client, 503, code)[code]
    assert (1, "2026-01-02T03:04:05+00:00") == (told["partition"], told["since"])
    assert "partition 1 is halted: it waits for an operator" == told["text"]


def test_a_halt_until_a_rewind_is_told_also_without_its_text(client: Client, live: Topic) -> None:
    """A worker of the release before clears the text when it stores, but not the reason, which it does not know."""
    run_ended(live.kafka.topic)
    for partition, reason in enumerate([HaltReason.LOG_DIVERGED, HaltReason.STORE_REFUSED], start=1):
        PartitionLedger.objects.create(topic=live.kafka.topic, partition=partition, halt_reason=reason)
    told = until(client, 503, "log-diverged")
    assert "partition 1 is halted: Kafka's log is not the one that was stored" == told["log-diverged"]["text"]
    assert "partition-halted" not in told  # such a halt ends when the partition advances


def test_an_open_transaction_is_told_with_its_producer(
    client: Client, live: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todos.monitoring.diagnosis.TRANSACTION_SECONDS", 0)
    run_ended(live.kafka.topic)
    name = f"foreign-{uuid.uuid4().hex[:8]}"
    with closing(live.new_producer(transactional_id=name)) as foreign:
        foreign.init_transactions()
        foreign.begin_transaction()
        foreign.send(live.kafka.topic, event(), partition=1)
        foreign.flush(30)
        live.send_todos(2, partition=1)

        told = until(client, 503, "open-transaction")["open-transaction"]

        assert told["text"].startswith("partition 1: 3 records are held by an open transaction of producer ")
        assert told["text"].endswith(f"({name}) from offset 0")
        assert (1, True) == (told["partition"], told["since"] is not None)

        foreign.commit_transaction()
        live.poll(timeout_ms=2000)
        until(client, 200)


def test_offsets_that_kafka_does_not_know_are_information(
    client: Client, live: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todos.ledger.unpublished.PATIENCE_SECONDS", 0)
    monkeypatch.setattr("todos.kafka.consumer.KafkaLog.publish", lambda log, positions: None)
    live.send_todos(3)
    live.poll(timeout_ms=2000)
    told = until(client, 200, "offsets-unpublished")["offsets-unpublished"]
    assert "Kafka's copy of the offsets is 3 behind" == told["text"]
    assert told["since"]


def test_a_coordinator_that_does_not_answer_is_information(
    client: Client, live: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    def published_offsets(log: KafkaLog) -> None:
        raise LogUnavailable("NotCoordinatorError")

    monkeypatch.setattr(KafkaLog, "published_offsets", published_offsets)
    run_ended(live.kafka.topic)
    until(client, 200)  # there is nothing to publish yet
    live.send_todos(3)
    live.poll(timeout_ms=2000)
    assert "does not answer" in until(client, 200, "offsets-unpublished")["offsets-unpublished"]["text"]


# --- Clocks


@pytest.mark.parametrize(("ahead", "code"), [(3600, "clock-ahead"), (-30, "clock-behind")])
def test_a_wrong_clock_is_told_with_its_process(client: Client, live: Topic, ahead: float, code: str) -> None:
    run_ended(live.kafka.topic)
    since = timezone.now() - timedelta(minutes=1)
    ClockSkew.objects.create(process="beat", ahead_seconds=ahead, since=since, measured_at=timezone.now())
    told = until(client, 200, code)[code]
    assert "beat" in told["text"]
    assert since.isoformat(timespec="seconds") == told["since"]

    ClockSkew.objects.update(measured_at=timezone.now() - timedelta(hours=1))  # the process has ended
    until(client, 200)


def test_a_last_tick_that_is_to_come_is_told(client: Client, live: Topic) -> None:
    run_ended(live.kafka.topic)
    PeriodicTask.objects.update(last_run_at=timezone.now() + timedelta(hours=1))
    assert "beat" in until(client, 200, "clock-ahead")["clock-ahead"]["text"]
