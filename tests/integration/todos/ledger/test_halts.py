"""A halt is a state of the ledger: only the partition's holder sets it, and it lasts until its cause is gone."""

from collections.abc import Callable

import pytest
from django.db import ProgrammingError

from tests.support.topic import Topic, event_of_version
from todos.ingest.consumer import ConsumerRun
from todos.ingest.options import PollOptions
from todos.ingest.parsing import ParsedBatch
from todos.ingest.store import LeaseLost, store
from todos.ledger.halts import halt_partition
from todos.ledger.leases import Lease
from todos.ledger.poll_runs import PollSummary
from todos.models import HaltReason, PartitionLedger
from todos.operations.rewind import rewind

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]


def ledger_of(topic: Topic) -> PartitionLedger:
    return PartitionLedger.objects.get(topic=topic.kafka.topic, partition=0)


def halt(ledger: PartitionLedger, reason: HaltReason, *, epoch: int | None = None) -> bool:
    lease = Lease(ledger.next_offset, ledger.epoch if epoch is None else epoch)
    return halt_partition(ledger.topic, ledger.partition, lease, reason, reason.label)


@pytest.fixture
def stored(make_memory_topic: MakeTopic) -> Topic:
    """A topic of one partition, with three todos that are stored."""
    topic = make_memory_topic()
    topic.send_todos(3)
    topic.poll()
    return topic


def test_a_late_poll_of_an_earlier_holder_halts_nothing(stored: Topic) -> None:
    ledger = ledger_of(stored)

    assert not halt(ledger, HaltReason.LOG_DIVERGED, epoch=ledger.epoch - 1)
    ledger.next_offset -= 1
    assert not halt(ledger, HaltReason.LOG_DIVERGED)

    ledger = ledger_of(stored)
    assert ("", "", None, None) == (ledger.halt_reason, ledger.halt_text, ledger.halted_since, ledger.halt_epoch)


def test_a_halt_keeps_its_time_until_the_reason_changes(stored: Topic) -> None:
    ledger = ledger_of(stored)
    assert halt(ledger, HaltReason.UNREADABLE)
    first = ledger_of(stored)
    assert halt(ledger, HaltReason.UNREADABLE)
    again = ledger_of(stored)
    assert halt(ledger, HaltReason.STORE_REFUSED)
    other = ledger_of(stored)

    assert (HaltReason.UNREADABLE, ledger.epoch) == (first.halt_reason, first.halt_epoch)
    assert first.halted_since is not None
    assert other.halted_since is not None
    assert first.halted_since == again.halted_since
    assert first.halted_since < other.halted_since


def test_a_halt_ends_when_the_partition_advances(stored: Topic) -> None:
    assert halt(ledger_of(stored), HaltReason.STORE_REFUSED)
    stored.send_todos(1)
    stored.poll()

    ledger = ledger_of(stored)
    assert (4, "", "") == (ledger.next_offset, ledger.halt_reason, ledger.halt_text)
    assert (None, None) == (ledger.halted_since, ledger.halt_epoch)


def test_a_halt_because_of_another_log_ends_only_with_a_rewind(stored: Topic) -> None:
    ledger = ledger_of(stored)
    assert halt(ledger, HaltReason.LOG_DIVERGED)
    assert not halt(ledger, HaltReason.STORE_REFUSED)
    stored.send_todos(2)

    assert 0 == stored.poll().records
    with pytest.raises(LeaseLost):
        store(ledger.topic, {0: Lease(ledger.next_offset, ledger.epoch)}, ParsedBatch(), {0: 4})
    assert HaltReason.LOG_DIVERGED == ledger_of(stored).halt_reason

    rewind(ledger.topic, 0, 3)
    assert 2 == stored.poll().stored
    assert ("", "") == (ledger_of(stored).halt_reason, ledger_of(stored).halt_text)


def test_a_failure_after_a_batch_was_stored_halts_no_partition(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send_todos(3)
    failing = iter([ProgrammingError("after the commit")])

    def fail_once(summary: PollSummary) -> None:
        for error in failing:
            raise error

    poll = ConsumerRun(
        topic.log(), PollOptions(), "a test", should_stop=lambda: poll.summary.failures > 0, on_batch=fail_once
    )
    poll.run()

    ledger = ledger_of(topic)
    assert (3, "", "") == (ledger.next_offset, ledger.halt_reason, ledger.halt_text)


def test_a_worker_that_is_too_old_says_so_by_a_reason(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send(event_of_version(2))
    topic.poll()

    assert HaltReason.UNSUPPORTED_VERSION == ledger_of(topic).halt_reason
