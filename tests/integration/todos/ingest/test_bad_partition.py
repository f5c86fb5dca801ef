"""One partition that cannot be stored, or not be read, stands still with an alarm; the others go on."""

from collections.abc import Callable

import pytest

from devstack import Kafka
from tests.support.batches import rot
from tests.support.topic import Topic, event
from todos.ingest.consumer import ConsumerRun
from todos.ingest.dead_letter_limit import MIN_RECORDS
from todos.ingest.options import PollOptions
from todos.models import DeadLetter
from todos.monitoring.lag import fetch_status
from todos.operations.rewind import rewind

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]
POISON = b"{}"


def alarms(topic: Topic) -> dict[int, str]:
    return {partition.partition: partition.halt_text for partition in fetch_status(topic.log()).partitions}


def test_a_partition_of_nothing_but_poison_holds_up_no_other(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic(partitions=3)
    topic.send(*[POISON] * MIN_RECORDS)
    topic.send_todos(50, partition=1)
    topic.send(POISON, partition=2)
    topic.send_todos(50, partition=2)

    summary = topic.poll()

    assert {0: 0, 1: 50, 2: 51} == topic.ledger()
    assert (100, 1) == (summary.stored, summary.dead_letters)
    first, *others = alarms(topic).values()
    assert f"{MIN_RECORDS} of the last {MIN_RECORDS} records cannot be stored" in first
    assert ["", ""] == others


def test_poison_that_trickles_in_halts_a_partition_until_good_records_follow(
    make_memory_topic: MakeTopic,
) -> None:
    topic = make_memory_topic()
    topic.send(*[POISON] * (MIN_RECORDS + 10))

    stopped = topic.poll(max_records=10)

    let_pass = MIN_RECORDS - 10
    assert (let_pass, let_pass) == (stopped.dead_letters, DeadLetter.objects.count())
    assert {0: let_pass} == topic.ledger()
    assert f"{MIN_RECORDS} of the last {MIN_RECORDS} records cannot be stored" in alarms(topic)[0]

    topic.send_todos(MIN_RECORDS)
    released = topic.poll()
    assert (MIN_RECORDS, 20) == (released.stored, released.dead_letters)
    assert {0: ""} == alarms(topic)


def test_a_bad_record_now_and_then_never_halts_a_partition(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    for _ in range(MIN_RECORDS // 2):
        topic.send(POISON)
        topic.send_todos(1)

    summary = topic.poll(max_records=1)

    assert (MIN_RECORDS // 2, MIN_RECORDS // 2, 0) == (summary.stored, summary.dead_letters, summary.failures)


@pytest.mark.parametrize("length", [-1, 3, 2**30], ids=["negative", "too small", "beyond the end"])
def test_a_batch_whose_length_rotted_stops_its_partition_with_an_alarm_until_it_is_passed_over(
    kafka: Kafka, make_topic: MakeTopic, length: int
) -> None:
    """Kafka finds a later batch by its index, which has an entry for every 4 KiB."""
    topic = make_topic(partitions=2)
    for todo in (event(), event(title="rotten"), *[event(description="x" * 5_000)] * 2):
        topic.send(todo)
    field = length.to_bytes(4, "big", signed=True)
    rot(kafka, topic, b"rotten", lambda batch: batch[:8] + bytearray(field) + batch[12:])
    options, log = PollOptions(timeout_ms=60_000, time_budget_seconds=60), topic.log()

    poll = ConsumerRun(
        log, options, "a test", should_stop=lambda: bool(poll.summary.last_error) and "rewind" in alarms(topic)[0]
    )
    poll.run()
    topic.send_todos(5, partition=1)
    again = topic.poll(log)

    assert (1, {0: 1, 1: 5}) == (poll.summary.stored, topic.ledger())
    assert (5, 1) == (again.stored, again.failures)  # known to be unreadable, and left at once
    assert "offset 1 of partition 0 cannot be read: Kafka answers" in alarms(topic)[0]
    assert "manage.py rewind --partition 0 --offset 2 --skip" in alarms(topic)[0]

    rewind(topic.kafka.topic, 0, 3, skip=True)
    assert (1, {0: 4, 1: 5}) == (topic.poll(log).stored, topic.ledger())
    assert {0: "", 1: ""} == alarms(topic)
