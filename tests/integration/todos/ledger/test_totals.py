"""Totals that outlive the history, and the polls that have ended."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from tests.support.topic import Topic, event
from todos import tasks
from todos.ingest.parsing import ParsedBatch
from todos.ingest.store import LeaseLost, store
from todos.ledger.batch_history import UNKNOWN_WRITER
from todos.ledger.leases import Lease
from todos.ledger.poll_runs import PollSummary, record_run, trim_runs
from todos.models import Batch, DeadLetter, DeadLetterTotal, PartitionLedger, PollRun

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]


def totals(topic: Topic) -> dict[str, int]:
    ledger = PartitionLedger.objects.get(topic=topic.kafka.topic)
    names = ("batches", "stored", "duplicates", "dead_letters", "lost", "bytes")
    return {name: getattr(ledger, f"{name}_total") for name in names}


def test_each_batch_adds_to_the_totals_and_a_trim_takes_nothing_away(make_memory_topic: MakeTopic) -> None:
    topic, todo, bad = make_memory_topic(), event(), b"not JSON"
    topic.send(event(id="019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b"), todo, bad)
    topic.poll()
    topic.send(event(id="019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b"), todo, todo)
    topic.delete_records(0, before=4)
    topic.poll()
    size = len(event(id="019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b")) + 3 * len(todo) + len(bad)
    expected = {"batches": 3, "stored": 4, "duplicates": 0, "dead_letters": 1, "lost": 1, "bytes": size}
    assert expected == totals(topic)

    Batch.objects.update(created_at=timezone.now() - timedelta(days=99))
    tasks.trim_batches(keep_days=1)

    assert 2 == Batch.objects.filter(topic=topic.kafka.topic).count()  # the last one, and what it hangs on
    assert expected == totals(topic)


def test_a_store_that_fails_adds_nothing(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send_todos(2)
    topic.poll()
    before = totals(topic)

    with pytest.raises(LeaseLost):
        store(topic.kafka.topic, {0: Lease(next_offset=1, epoch=0)}, ParsedBatch(), {0: 9})

    assert before == totals(topic)


def test_a_database_from_before_starts_with_what_its_history_tells(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send_todos(3)
    topic.poll()
    expected = totals(topic)
    call_command("migrate", "todos", "0008", verbosity=0)
    try:
        with connection.cursor() as cursor:  # as the version before goes on
            cursor.execute("UPDATE todos_partitionledger SET alarm = ''")
    finally:
        call_command("migrate", "todos", verbosity=0)
    assert expected == totals(topic)


def test_dead_letters_are_counted_without_a_search_path(make_memory_topic: MakeTopic) -> None:
    """pg_restore inserts rows that way."""
    topic = make_memory_topic()
    topic.send(b"not JSON")
    topic.poll()
    DeadLetterTotal.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE dumped AS TABLE todos_deadletter")
        DeadLetter.objects.all().delete()
        cursor.execute("SET search_path = ''")
        try:
            cursor.execute("INSERT INTO public.todos_deadletter TABLE pg_temp.dumped")
        finally:
            cursor.execute("RESET search_path; DROP TABLE pg_temp.dumped")
    assert [1] == list(DeadLetterTotal.objects.values_list("letters", flat=True))


def test_every_poll_that_ends_is_told_idle_or_not(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    assert not PollRun.objects.filter(topic=topic.kafka.topic).exists()
    topic.poll()
    topic.send(event(), b"bad")
    topic.poll()

    busy, idle = PollRun.objects.filter(topic=topic.kafka.topic)
    assert (0, 0, 0) == (idle.batches, idle.stored, idle.failures)
    assert (1, 1, 1, "a test") == (busy.batches, busy.stored, busy.dead_letters, busy.worker)
    assert busy.started_at < busy.ended_at


def test_a_poll_without_a_database_ends_all_the_same(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    connection.close()
    nowhere = {**connection.settings_dict, "PORT": "1"}
    original, connection.settings_dict = connection.settings_dict, nowhere
    try:
        record_run("t", UNKNOWN_WRITER, PollSummary())
    finally:
        connection.settings_dict = original

    assert "cannot record that polls end" in caplog.text
    assert not PollRun.objects.exists()


def test_old_polls_are_forgotten() -> None:
    for _ in range(3):
        record_run("t", UNKNOWN_WRITER, PollSummary())
    old = PollRun.objects.order_by("id").first()
    assert old is not None
    PollRun.objects.filter(pk=old.pk).update(ended_at=timezone.now() - timedelta(days=8))

    assert 1 == trim_runs(keep_days=7)
    assert 0 == trim_runs(keep_days=7)
    assert 2 == PollRun.objects.count()
