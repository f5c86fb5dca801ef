"""Each stored todo whose record names a trace is one span of it; no header and no collector holds up the ingest."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pytest_django import Settings

from tests.support.collector import Collector, running_collector
from tests.support.todos import constraint
from tests.support.topic import Topic, event
from tests.support.waiting import Stopwatch
from todos.ingest import tracing
from todos.models import Batch, Todo

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]
TRACE_ID, EDGE_ID = "a1b2c3d4" * 4, "e5f60718" * 2
TRACED = ("traceparent", f"00-{TRACE_ID}-{EDGE_ID}-01".encode())


@contextmanager
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with running_collector() as collector:
        for name, value in collector.environ.items():
            monkeypatch.setenv(name, value)
        yield collector


def test_a_todo_s_span_is_a_child_of_the_one_in_its_record(
    make_memory_topic: MakeTopic, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRACING, topic = True, make_memory_topic()
    topic.send(event(title="untraced"))
    topic.send(b"not a todo", headers=[TRACED])
    (offset,) = topic.send(event(), headers=[("request-id", b"client-7"), TRACED])
    before = time.time_ns()
    with collecting(monkeypatch) as collector:
        topic.poll()
        tracing.stop_tracing()

    (span,) = collector.spans
    todo = Todo.objects.get(source_offset=offset)
    assert ("todo-ingest", "store todo", TRACE_ID, EDGE_ID) == (
        span.service,
        span.name,
        span.trace_id,
        span.parent_id,
    )
    assert {
        "messaging.destination.name": topic.kafka.topic,
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": offset,
        "todo.id": str(todo.id),
        "todo.request_id": todo.request_id,
        "todo.worker": Batch.objects.get(next_offset=offset + 1).worker,
    }.items() <= span.attributes.items()
    assert "client-7" == todo.request_id
    assert before < span.start < todo.stored_at.timestamp() * 1e9 < span.end < time.time_ns()


def test_a_huge_batch_does_not_drown_the_collector(
    make_memory_topic: MakeTopic, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRACING, topic = True, make_memory_topic()
    monkeypatch.setattr(tracing, "MAX_SPANS", 10)
    topic.send(*(event() for _ in range(50)), headers=[TRACED])
    with collecting(monkeypatch) as collector:
        topic.poll()
        tracing.stop_tracing()

    stored = list(Batch.objects.values_list("stored", flat=True))
    assert 50 == sum(stored)
    assert sum(min(10, count) for count in stored) == len(collector.spans) < 50


def test_no_span_tells_of_a_todo_that_was_refused(
    make_memory_topic: MakeTopic, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRACING, topic = True, make_memory_topic()
    topic.send(event(title="refused"), headers=[TRACED])
    with collecting(monkeypatch) as collector:
        with constraint("title <> 'refused'"):
            assert (0, 1) == ((summary := topic.poll()).stored, summary.dead_letters)
        topic.send(event(title="fine"), headers=[TRACED])
        topic.poll()
        tracing.stop_tracing()

    assert [str(Todo.objects.get().id)] == [span.attributes["todo.id"] for span in collector.spans]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff" * 55,
        b"\0" * 55,
        b"00-" + b"0" * 32 + TRACED[1][35:],
        b"ff" + TRACED[1][2:],
        TRACED[1].upper().replace(b"-01", b"-0\n"),
        TRACED[1] + b"-" + b" " * 100_000 + b"\nx",
        TRACED[1][:-2] + b"00",  # not sampled
    ],
)
def test_whatever_a_header_says_its_todo_is_stored(
    make_memory_topic: MakeTopic, settings: Settings, monkeypatch: pytest.MonkeyPatch, value: bytes
) -> None:
    settings.TRACING, topic = True, make_memory_topic()
    topic.send(event(), headers=[("traceparent", value)])
    with collecting(monkeypatch) as collector:
        assert 1 == topic.poll().stored
        tracing.stop_tracing()

    assert [] == collector.spans


@pytest.mark.parametrize(("name", "value"), [("ENDPOINT", "http://127.0.0.1:9"), ("TIMEOUT", "soon")])
def test_a_collector_that_is_away_or_misconfigured_holds_up_nothing(
    make_memory_topic: MakeTopic, settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    settings.TRACING, topic = True, make_memory_topic()
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    topic.send(event(), headers=[TRACED])

    summary = topic.poll()

    assert (1, 0) == (summary.stored, summary.failures)
    watch = Stopwatch()
    tracing.stop_tracing()
    assert watch.seconds < tracing.STOP_SECONDS + 5
