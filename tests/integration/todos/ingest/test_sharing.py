"""Polls share the partitions of a topic, fairly, and take over what others leave."""

import math
import subprocess
from collections.abc import Callable

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from devstack import Kafka
from devstack.kafka import tool_command
from tests.support.memory_log import MemoryLog
from tests.support.threads import in_thread, in_threads
from tests.support.topic import Topic
from tests.support.waiting import eventually
from todos.ingest import assignment
from todos.ingest.consumer import ConsumerRun
from todos.ingest.options import PollOptions
from todos.ledger.leases import Leases, ensure_ledger
from todos.models import Poller, Todo

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]
TOPIC = "shared"


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 6, 9])
def test_shares_are_fair_and_cover_every_partition(workers: int) -> None:
    ensure_ledger(TOPIC, range(6))
    polls = [Leases(TOPIC, f"worker {n}") for n in range(workers)]
    for _ in range(3):  # the first takes all, then makes room
        for poll in polls:
            poll.refresh(range(6))

    held = sorted(partition for poll in polls for partition in poll.held)
    assert held == list(range(6))
    assert max(len(poll.held) for poll in polls) == math.ceil(6 / workers)


def test_waiting_for_a_partition_costs_one_query_per_refresh() -> None:
    ensure_ledger(TOPIC, range(2))
    holder, idle = Leases(TOPIC, "holder"), Leases(TOPIC, "idle")
    holder.refresh(range(1))
    idle.refresh(range(1))

    with CaptureQueriesContext(connection) as queries:
        assert not idle.refresh(range(1))

    assert 1 == len(queries)


def test_a_freed_partition_is_noticed_in_the_middle_of_a_long_poll() -> None:
    log = MemoryLog({0: 5})
    ensure_ledger(log.topic, [0])
    holder = Leases(log.topic, "holder")
    assert holder.refresh([0])
    run = ConsumerRun(
        log, PollOptions(timeout_ms=60_000, time_budget_seconds=60), "idle", should_stop=lambda: run.summary.stored == 5
    )
    thread = in_thread(run.run)
    eventually(lambda: Poller.objects.filter(worker="idle").exists(), seconds=20, what="the idle poll to wait")
    assert 0 == run.summary.stored

    holder.release([0])
    thread.join()

    assert (5, 0) == (run.summary.stored, run.summary.failures)


def test_a_poll_that_forgot_its_leases_keeps_none_beyond_its_share() -> None:
    """As after a failure; it held everything when the other poll came."""
    ensure_ledger(TOPIC, range(6))
    forgetful, other = Leases(TOPIC, "forgetful"), Leases(TOPIC, "other")
    forgetful.refresh(range(6))
    other.refresh(range(6))
    forgetful.invalidate()
    for poll in (forgetful, other):
        poll.refresh(range(6))

    assert [0, 1, 2, 3, 4, 5] == sorted([*forgetful.held, *other.held])


def test_what_a_poll_leaves_is_taken_over(make_memory_topic: MakeTopic) -> None:
    ensure_ledger(TOPIC, range(6))
    stays = Leases(TOPIC, "stays")
    with Leases(TOPIC, "leaves") as leaves:
        for poll in (leaves, stays, leaves, stays):
            poll.refresh(range(6))
        assert (len(leaves.held), len(stays.held)) == (3, 3)

    assert stays.refresh(range(6))
    assert sorted(stays.held) == list(range(6))
    assert [poller.worker for poller in Poller.objects.all()] == ["stays"]


def test_a_poll_on_a_machine_that_was_suspended_goes_on() -> None:
    """By the database's clock no poller lives any more, and by its own no heartbeat is due yet."""
    ensure_ledger(TOPIC, range(2))
    poll = Leases(TOPIC, "suspended")
    poll.refresh(range(2))
    Poller.objects.update(expires_at=Now())

    poll.refresh(range(2))

    assert [0, 1] == sorted(poll.held)


def test_a_dead_polls_partitions_are_free_after_its_lease() -> None:
    ensure_ledger(TOPIC, range(2))
    dead, heir = Leases(TOPIC, "dead"), Leases(TOPIC, "heir")
    dead.refresh(range(2))
    heir.refresh(range(2))
    assert not heir.held

    Poller.objects.filter(worker="dead").update(expires_at=Now())
    heir.invalidate()  # as after a heartbeat's time
    heir.refresh(range(2))

    assert sorted(heir.held) == [0, 1]
    assert [heir.held[partition].epoch > dead.held[partition].epoch for partition in (0, 1)] == [True, True]


def test_polls_at_the_same_time_store_everything_once(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic(partitions=6)
    ids = {todo_id for partition in range(6) for todo_id in topic.send_todos(500, partition)}
    polls = [ConsumerRun(topic.log(), PollOptions(timeout_ms=4000, max_records=50), f"worker {n}") for n in range(4)]
    in_threads(*(poll.run for poll in polls))

    assert {str(todo.id) for todo in Todo.objects.all()} == ids
    assert sum(poll.summary.stored for poll in polls) == 3000
    assert sum(poll.summary.duplicates for poll in polls) == 0
    assert topic.ledger() == dict.fromkeys(range(6), 500)


def test_a_partition_added_while_running_is_read(make_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "DISCOVERY_SECONDS", 0.2)
    topic = make_topic(partitions=1)
    poll = ConsumerRun(
        topic.log(), PollOptions(timeout_ms=5000), "running", should_stop=lambda: poll.summary.stored >= 2
    )
    topic.send_todos(1)
    thread = in_thread(poll.run)
    topic.log().add_partitions(2)
    topic.producer.close()
    topic.producer = topic.new_producer()
    topic.send_todos(1, partition=1)
    thread.join()

    assert topic.ledger() == {0: 1, 1: 1}


def test_kafkas_own_tool_shows_no_lag_after_a_drain(make_topic: MakeTopic, kafka: Kafka) -> None:
    topic = make_topic(partitions=2)
    topic.send_todos(5, partition=0)
    topic.send_todos(6, partition=1)

    topic.poll()

    tool = tool_command("kafka-consumer-groups", kafka.bootstrap_servers, "--describe", "--group", topic.kafka.group)
    shown = subprocess.run(tool, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in shown.splitlines() if topic.kafka.topic in line]
    assert {(row[2], row[3], row[4], row[5]) for row in rows} == {("0", "5", "5", "0"), ("1", "6", "6", "0")}
