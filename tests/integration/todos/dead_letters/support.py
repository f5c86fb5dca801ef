"""What the tests of dead letters ask of Kafka, of the history and of threads."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from edge_api.shared.kafka_settings import KafkaSettings
from tests.support.threads import in_threads
from tests.support.topic import Topic
from todos.kafka.producer import KafkaSender
from todos.models import DeadLetter

Poison = Callable[..., DeadLetter]


def sent(topic: Topic) -> int:
    """How many records the topic holds."""
    log = topic.log()
    return sum(span.end for span in log.offset_ranges(log.partitions()).values())


def history(letter: DeadLetter) -> list[tuple[str, str]]:
    return list(letter.events.values_list("action", "actor"))


def at_once(*works: Callable[[], object]) -> list[BaseException | None]:
    """Runs all of them at the same moment, each with a database connection of its own; what each one raised."""
    start = threading.Barrier(len(works))
    raised: list[BaseException | None] = [None] * len(works)

    def run(index: int, work: Callable[[], object]) -> None:
        start.wait(30)
        try:
            work()
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            raised[index] = exc

    in_threads(*(partial(run, *item) for item in enumerate(works)))
    return raised


def nowhere(kafka: KafkaSettings) -> KafkaSettings:
    return kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:9"})


class Killed(BaseException):
    """Like the death of a process: nothing of the product catches it."""


class DiesAfterSending(KafkaSender):
    def send(self, *args: Any, **kwargs: Any) -> Any:
        super().send(*args, **kwargs)
        raise Killed
