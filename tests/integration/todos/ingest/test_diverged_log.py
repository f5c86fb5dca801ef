"""A log that is not the continuation of what was stored halts its partition until an operator decides."""

import io
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command

from devstack import Kafka
from tests.support.memory_topic import MemoryTopic, TopicLog
from tests.support.topic import Topic
from todos.event_log import OffsetRange, PartitionUnreadable, Record
from todos.ingest.consumer import ConsumerRun
from todos.ingest.options import PollOptions
from todos.models import Batch, HaltReason, LogDivergence, OffsetLoss, PartitionLedger, Poller, Todo
from todos.operations.audit import OffsetKind, PartitionAudit, audit_partition
from todos.operations.rewind import WouldSkip, rewind
from todos.receipts.lookup import ReceiptKey, ReceiptStatus, find_receipt

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Any]  # of a MemoryTopic


def ledger_of(topic: Topic, partition: int = 0) -> PartitionLedger:
    return PartitionLedger.objects.get(topic=topic.kafka.topic, partition=partition)


def stored_ids() -> set[str]:
    return {str(todo_id) for todo_id in Todo.objects.values_list("id", flat=True)}


def receipt(topic: Topic, offset: int, todo_id: str) -> ReceiptStatus:
    return find_receipt(ReceiptKey(topic.kafka.topic, UUID(todo_id), 0, offset), owner="").status


def audit(topic: Topic) -> PartitionAudit:
    return audit_partition(topic.log(), 0)


@pytest.fixture
def topic(make_memory_topic: MakeTopic) -> Any:
    """Two partitions; of the first, batches that end at 4 and 10 are stored, and Kafka lost its records from 6 on."""
    topic = make_memory_topic(partitions=2)
    for count in (4, 6):
        topic.send_todos(count)
        topic.poll()
    topic.lose(0, after=6)
    return topic


@pytest.mark.parametrize("sent", [0, 2, 4, 5, 30])
def test_no_growth_of_the_log_ends_the_halt(topic: Topic, sent: int) -> None:
    before = stored_ids()
    topic.send_todos(sent)
    topic.poll()
    topic.send_todos(40)
    healthy = topic.send_todos(3, partition=1)

    later = topic.poll()

    ledger = ledger_of(topic)
    assert (10, HaltReason.LOG_DIVERGED) == (ledger.next_offset, ledger.halt_reason)
    assert ledger.halted_since is not None
    assert (before | set(healthy), 0) == (stored_ids(), later.failures)
    divergence = LogDivergence.objects.get()
    assert (0, 4, max(10, 6 + sent)) == (divergence.partition, divergence.first_offset, divergence.next_offset)


def test_a_log_that_grew_past_the_ledger_meanwhile_is_told_from_its_continuation(topic: Topic) -> None:
    lost = topic.send_todos(30)
    assert 0 == topic.poll().stored
    assert not stored_ids() & set(lost)
    assert HaltReason.LOG_DIVERGED == ledger_of(topic).halt_reason


def test_the_last_record_is_verified_also_if_it_became_a_dead_letter(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send_todos(3)
    topic.send(b"not a todo")
    topic.poll()
    topic.lose(0, after=3)
    topic.send_todos(2)

    assert 0 == topic.poll().stored
    assert HaltReason.LOG_DIVERGED == ledger_of(topic).halt_reason


def test_a_last_record_that_kafka_deleted_proves_nothing(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send_todos(3)
    topic.poll()
    topic.delete_records(0, before=3)
    topic.send_todos(2)

    assert 2 == topic.poll().stored
    assert "" == ledger_of(topic).halt_reason


def test_a_rewind_to_where_the_logs_agree_loses_nothing(topic: Topic) -> None:
    before = stored_ids()
    ids = topic.send_todos(30)
    topic.poll()

    move = rewind(topic.kafka.topic, 0, 4, log_end=36)
    read = topic.poll()

    assert (4, 6, 0) == (move.agreed, move.reread, move.skipped)
    assert (before | set(ids), 30, 2) == (stored_ids(), read.stored, read.duplicates)
    divergence = LogDivergence.objects.get()
    assert (4, 36, 4) == (divergence.first_offset, divergence.next_offset, divergence.resumed_at)
    assert divergence.resolved_at is not None
    assert audit(topic).is_proved(accept_deleted=False)
    assert "" == ledger_of(topic).halt_reason


def test_what_a_rewind_passes_over_is_a_recorded_loss(topic: Topic) -> None:
    ids = topic.send_todos(30)
    topic.poll()
    name = topic.kafka.topic

    with pytest.raises(WouldSkip, match="up to offset 4: moving to 10 would skip 6 offsets"):
        rewind(name, 0, 10)
    rewind(name, 0, 10, skip=True)
    topic.poll()

    loss = OffsetLoss.objects.get()
    assert (4, 10, 6) == (loss.first_offset, loss.next_offset, ledger_of(topic).lost_total)
    assert not stored_ids() & set(ids[:4])  # at 6 to 9
    assert set(ids[4:]) <= stored_ids()
    assert ReceiptStatus.LOST == receipt(topic, 6, ids[0])
    result = audit(topic)
    assert (4, 0) == (result.kinds[OffsetKind.LOST], len(result.offenders))
    assert result.is_proved(accept_deleted=False)


def test_nothing_counts_as_deleted_where_the_log_is_another_one(topic: Topic) -> None:
    """Here the new log has as many todos from 4 to 9 as the batch that was stored there."""
    ids = topic.send_todos(30)
    unnoticed = audit(topic)  # before any poll
    topic.poll()
    noticed = audit(topic)

    for result in (unnoticed, noticed):
        assert 0 == result.kinds[OffsetKind.DELETED]
        assert 4 == result.kinds[OffsetKind.MISSING]
        assert not result.is_proved(accept_deleted=True)
        assert any("from offset 4 on" in problem for problem in result.problems)
    assert ReceiptStatus.UNKNOWN == receipt(topic, 6, ids[0])
    assert ReceiptStatus.PENDING == receipt(topic, 20, ids[14])

    rewind(topic.kafka.topic, 0, 4, log_end=36)
    topic.poll()
    Todo.objects.filter(id=ids[0]).delete()
    assert ReceiptStatus.STORED == receipt(topic, 7, ids[1])
    assert ReceiptStatus.UNKNOWN == receipt(topic, 6, ids[0])  # it may be a record of either log
    assert [OffsetKind.DELETED] == [kind for _, kind in audit(topic).offenders]  # the new batch proves it


def test_a_log_that_is_replaced_during_a_poll_is_verified_after_the_silence(
    make_memory_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todos.ingest.assignment.SILENCE_SECONDS", 0)
    monkeypatch.setattr("todos.ingest.assignment.REFRESH_SECONDS", 0)
    topic = make_memory_topic()
    topic.send_todos(5)
    idle_reads = 0

    def replace_the_log() -> bool:
        nonlocal idle_reads
        idle_reads += run.summary.stored == 5
        if idle_reads == 2:  # the one before has read nothing
            topic.lose(0, after=2)
            topic.send_todos(20)
        return idle_reads > 10

    run = ConsumerRun(topic.log(), PollOptions(timeout_ms=60_000), "a test", should_stop=replace_the_log)
    assert 5 == run.run().stored
    assert (5, HaltReason.LOG_DIVERGED) == (ledger_of(topic).next_offset, ledger_of(topic).halt_reason)


@pytest.mark.parametrize("has_last_record", [True, False])
def test_a_stale_end_halts_nothing(make_memory_topic: MakeTopic, *, has_last_record: bool) -> None:
    """A broker that still believes to lead the partition answers where its own copy ends."""
    topic: MemoryTopic = make_memory_topic()
    topic.send_todos(5)
    topic.poll()
    if not has_last_record:
        PartitionLedger.objects.update(last_offset=None, last_checksum=None, last_leader_epoch=None)
    topic.send_todos(2)
    answers = iter([OffsetRange(0, 3)])

    class StaleLog(TopicLog):
        def offset_ranges(self, partitions: Iterable[int]) -> dict[int, OffsetRange]:
            ranges = super().offset_ranges(partitions)
            return {partition: next(answers, held) for partition, held in ranges.items()}

    assert 2 == topic.poll(StaleLog(topic)).stored
    assert (7, "") == (ledger_of(topic).next_offset, ledger_of(topic).halt_reason)
    assert not LogDivergence.objects.exists()


def test_a_record_that_does_not_arrive_in_time_proves_no_other_log(topic: MemoryTopic) -> None:
    """Such as above an open transaction. The other partitions are stored meanwhile."""
    healthy = topic.send_todos(3, partition=1)

    class SlowLog(TopicLog):
        def first_records(self, positions: Mapping[int, int]) -> dict[int, Record]:
            return {}

    run = topic.poll(SlowLog(topic))

    assert 3 == run.stored
    assert set(healthy) <= stored_ids()
    assert ("", False) == (ledger_of(topic).halt_reason, LogDivergence.objects.exists())
    topic.poll()
    assert (4, HaltReason.LOG_DIVERGED) == (LogDivergence.objects.get().first_offset, ledger_of(topic).halt_reason)


def test_offsets_without_a_record_prove_another_log(topic: MemoryTopic) -> None:
    """Where stored records were, the new log has only those of transactions that were aborted, say."""

    class PassingLog(TopicLog):
        def first_records(self, positions: Mapping[int, int]) -> dict[int, Record]:
            self.assign({partition: topic.range_of(partition).end for partition in positions})
            return {}

    topic.poll(PassingLog(topic))

    assert (0, HaltReason.LOG_DIVERGED) == (LogDivergence.objects.get().first_offset, ledger_of(topic).halt_reason)


def test_a_damaged_record_proves_nothing_and_blocks_nothing(topic: MemoryTopic) -> None:
    class DamagedLog(TopicLog):
        def first_records(self, positions: Mapping[int, int]) -> dict[int, Record]:
            raise PartitionUnreadable(0, positions[0], "damaged")

    topic.poll(DamagedLog(topic))

    assert (0, HaltReason.LOG_DIVERGED) == (LogDivergence.objects.get().first_offset, ledger_of(topic).halt_reason)


def test_a_poll_stays_registered_while_it_searches_where_the_logs_agree(
    topic: MemoryTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todos.ledger.leases.HEARTBEAT_SECONDS", 0)
    topic.send_todos(30)
    renewals: list[datetime] = []

    class WatchedLog(TopicLog):
        def first_records(self, positions: Mapping[int, int]) -> dict[int, Record]:
            renewals.append(Poller.objects.get().expires_at)
            return super().first_records(positions)

    topic.poll(WatchedLog(topic))

    assert 2 <= len(renewals) == len(set(renewals))


def test_a_ledger_edited_forward_is_not_blamed_on_the_log(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send_todos(5)
    topic.poll()
    PartitionLedger.objects.update(next_offset=50)

    topic.poll()

    ledger = ledger_of(topic)
    assert HaltReason.LEDGER_EDITED == ledger.halt_reason
    assert "is at 50, but its batches end at 5" in ledger.halt_text
    assert not LogDivergence.objects.exists()


def test_a_last_record_behind_the_ledger_is_not_believed(make_memory_topic: MakeTopic) -> None:
    """The rewind of the release before leaves it."""
    topic = make_memory_topic()
    topic.send_todos(10)
    topic.poll()
    Batch.objects.create(topic=topic.kafka.topic, partition=0, generation=1, next_offset=3)
    PartitionLedger.objects.update(next_offset=3, generation=1)

    assert 7 == topic.poll().duplicates


def test_the_agreement_is_that_of_the_log_at_the_rewind(
    topic: MemoryTopic, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """While the partition was halted, the log was replaced again."""
    ids = replace_again(topic, monkeypatch, settings)

    call_command("rewind", "--partition=0", "--to-agreement", stdout=io.StringIO())
    topic.poll()

    assert set(ids) <= stored_ids()
    assert 0 == LogDivergence.objects.get().first_offset
    Todo.objects.filter(id=ids[1]).delete()
    assert ReceiptStatus.UNKNOWN == receipt(topic, 3, ids[1])  # an offset of either log


def test_a_skip_loses_also_what_the_log_lost_since_the_halt(
    topic: MemoryTopic, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    replace_again(topic, monkeypatch, settings)

    call_command("rewind", "--partition=0", "--offset=10", "--skip", stdout=io.StringIO())

    loss = OffsetLoss.objects.get()
    assert (0, 10) == (loss.first_offset, loss.next_offset)


def test_nothing_of_a_topic_that_was_recreated_while_it_was_halted_agrees(
    topic: MemoryTopic, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Also where its records are the same."""
    use_by_commands(topic, monkeypatch, settings)
    topic.poll()
    topic.id = uuid4()

    call_command("rewind", "--partition=0", "--to-agreement", stdout=io.StringIO())

    assert (0, 0) == (ledger_of(topic).next_offset, LogDivergence.objects.get().first_offset)


def use_by_commands(topic: MemoryTopic, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.KAFKA = topic.kafka
    monkeypatch.setattr("todos.management.commands.rewind.open_log", lambda: nullcontext(topic.log()))


def replace_again(topic: MemoryTopic, monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[str]:
    """Halt the partition where the logs agree up to 4, and replace its records from 2 on. Returns the new ids."""
    use_by_commands(topic, monkeypatch, settings)
    topic.poll()
    assert 4 == LogDivergence.objects.get().first_offset
    topic.lose(0, after=2)
    return topic.send_todos(50)


# --- Real Kafka


@pytest.mark.slow
def test_an_older_copy_of_kafkas_disk_halts_its_partitions_until_a_rewind(own_kafka: Kafka, own_topic: Topic) -> None:
    """It comes back with the same topic id, and grows past the ledger before any poll."""

    def restart(change: Callable[[], object]) -> None:
        own_topic.close()
        own_kafka.stop()
        change()
        own_kafka.start()
        own_topic.producer = own_topic.new_producer()

    data, copy = own_kafka.directory / "apache", own_kafka.directory / "copy"
    if not data.is_dir():
        pytest.skip("not Apache Kafka")
    own_topic.send_todos(10)
    own_topic.poll(own_topic.log())
    restart(lambda: shutil.copytree(data, copy))
    own_topic.send_todos(20)
    own_topic.poll(own_topic.log())
    before = stored_ids()

    def restore() -> None:
        shutil.rmtree(data)
        shutil.move(copy, data)

    restart(restore)
    ids = own_topic.send_todos(50)
    polls = [own_topic.poll(own_topic.log()) for _ in range(2)]

    assert (30, before) == (len(before), stored_ids())
    assert [0, 0] == [poll.records for poll in polls]
    ledger = ledger_of(own_topic)
    assert (30, HaltReason.LOG_DIVERGED) == (ledger.next_offset, ledger.halt_reason)
    with pytest.raises(CommandError, match="cannot be proved"):
        call_command("audit", "--accept-deleted", stdout=io.StringIO())

    costs = io.StringIO()
    call_command("rewind", "--partition=0", "--to-agreement", "--dry-run", stdout=costs)
    assert "--to-agreement reads 50 offsets that were never stored" in costs.getvalue()
    assert "--offset 30 --skip gives up 20 of them" in costs.getvalue()
    call_command("rewind", "--partition=0", "--to-agreement", stdout=io.StringIO())
    own_topic.poll(own_topic.log())

    assert before | set(ids) == stored_ids()
    call_command("audit", stdout=io.StringIO())
