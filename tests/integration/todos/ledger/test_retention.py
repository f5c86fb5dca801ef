"""How long Kafka keeps what is not stored yet, and what it did not keep, as pipeline_status shows it."""

import io
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.support.topic import Topic, event
from tests.support.waiting import Stopwatch
from todos.event_log import Retention
from todos.kafka import consumer
from todos.monitoring.lag import fetch_status

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]


def now_ms() -> int:
    return int(time.time() * 1000)


def test_the_oldest_unread_record_counts(make_topic: MakeTopic) -> None:
    topic = make_topic(partitions=5)
    topic.configure(retention_ms=60_000)
    started = time.monotonic()
    topic.send(event(), partition=0, timestamp_ms=now_ms() - 5_000)
    topic.poll()
    topic.send(event(), partition=0, timestamp_ms=now_ms() - 20_000)
    topic.send(event(), partition=0, timestamp_ms=now_ms())
    topic.send(event(), partition=1, timestamp_ms=now_ms() - 90_000)  # due
    topic.send(event(), event(), partition=2)
    topic.delete_records(2, before=1)  # gone
    topic.send(event(), partition=3, timestamp_ms=now_ms() + 1_000)

    watch = Stopwatch()
    status = fetch_status(topic.log())
    assert watch.seconds < 8
    seconds = time.monotonic() - started

    deleted_in = [partition.deleted_in for partition in status.partitions]
    assert deleted_in[0] is not None
    assert 40 - seconds <= deleted_in[0] <= 40
    assert deleted_in[1:3] == [0, 0]
    assert deleted_in[3] is not None
    assert 61 - seconds <= deleted_in[3] <= 61
    assert deleted_in[4] is None  # nothing unread


@pytest.mark.parametrize(
    ("configs", "retention"),
    [
        ({"retention_ms": -1, "segment_ms": 30_000}, Retention(None, None, 30.0)),
        (
            {"retention_ms": 60_000, "retention_bytes": 1_000_000, "segment_ms": 30_000},
            Retention(60.0, 1_000_000, 30.0),
        ),
    ],
)
def test_the_topics_own_settings_count(
    make_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch, configs: dict[str, int], retention: Retention
) -> None:
    monkeypatch.setattr(consumer, "FIRST_RECORDS_SECONDS", 30.0)  # a busy machine may need longer for the first record
    topic = make_topic()
    topic.configure(**configs)
    topic.send(event())

    status = fetch_status(topic.log())

    assert status.retention == retention
    assert (status.partitions[0].deleted_in is None) == (retention.seconds is None)


def test_the_command_shows_retention_and_losses(make_topic: MakeTopic, settings: Any) -> None:
    topic = make_topic(partitions=2)
    settings.KAFKA = topic.kafka
    topic.configure(retention_ms=3_600_000, retention_bytes=1_000_000)
    topic.send_todos(10, partition=0)
    topic.delete_records(0, before=4)
    topic.poll()
    topic.send(event(), partition=1, timestamp_ms=now_ms() - 20_000)

    out = io.StringIO()
    with pytest.raises(CommandError, match="Kafka deleted 4 offsets in the last day"):
        call_command("pipeline_status", stdout=out)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.getvalue().splitlines()]
    shown = {row[0]: row[6:] for row in rows if row}

    assert (shown["0"], shown["1"][1], shown["all"][1]) == (["-", "4"], "0", "4")
    assert shown["1"][0].startswith("59 min")
    assert "retention.bytes is 1,000,000 for each partition" in out.getvalue()
