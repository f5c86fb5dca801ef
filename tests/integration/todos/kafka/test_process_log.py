"""A Celery child replaces a Kafka client that is broken, whether it says so or not, and keeps one that works."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaConnectionError

from tests.support.topic import Topic
from todos.kafka import consumer
from todos.kafka.consumer import close_process_log, process_log
from todos.models import Todo
from todos.tasks import poll_todos

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    close_process_log()
    yield
    close_process_log()


def fail(error: Exception) -> dict[Any, Any]:
    raise error


@pytest.mark.parametrize(
    "answer",
    [lambda: fail(RuntimeError("closed")), lambda: fail(KafkaConnectionError("closed")), dict],
    ids=["an unexpected error", "an error of Kafka", "silence"],
)
def test_a_broken_client_is_replaced(
    topic: Topic, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], dict[Any, Any]]
) -> None:
    monkeypatch.setattr(consumer, "SILENT_SECONDS", 0.0)
    read, broken = KafkaConsumer.poll, list[KafkaConsumer]()

    def poll(client: KafkaConsumer, **options: Any) -> Any:
        if not broken:
            broken.append(client)
        return answer() if client in broken else read(client, **options)

    monkeypatch.setattr(KafkaConsumer, "poll", poll)
    topic.send_todos(5)
    for _ in range(2):
        try:
            poll_todos(timeout_ms=3000, time_budget_seconds=3)
        except RuntimeError:
            continue  # Celery logs it, and the next tick comes

    assert 5 == Todo.objects.count()


def test_a_client_that_works_is_kept(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "SILENT_SECONDS", 0.0)
    topic.send_todos(5)
    with process_log() as first:
        topic.poll(first)
    with process_log() as second:
        topic.poll(second, timeout_ms=100)  # in vain: there is no more

    with process_log() as third:
        assert first is second is third


def test_a_client_is_kept_when_a_record_arrives_just_after_an_idle_poll(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "SILENT_SECONDS", 0.0)
    topic.send_todos(1)
    with process_log() as first:
        topic.poll(first)
        topic.poll(first, timeout_ms=100)  # in vain: there is no more
        topic.send_todos(1)

    with process_log() as second:
        assert first is second
        assert 1 == topic.poll(second).stored
