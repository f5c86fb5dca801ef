"""manage.py import_todos while Kafka is unavailable: one line says how to continue, and nothing is stored twice."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack import Kafka
from tests.support.manage import run
from tests.support.topic import Topic, records_in
from tests.support.waiting import eventually
from todos.kafka import producer as kafka_bulk
from todos.models import Todo
from todos.transfer.imports.job import Progress

pytestmark = pytest.mark.django_db(transaction=True)
LINES = 20_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "todos.csv"
    path.write_text("title\n" + "".join(f"todo {n}\n" for n in range(LINES)))
    return path


@pytest.fixture
def strike(own_kafka: Kafka, path: Path) -> Iterator[threading.Event]:
    """Freezes Kafka in the middle of the import, until the event is set."""
    over = threading.Event()
    thread = threading.Thread(target=_freeze, args=[own_kafka, path.with_name("todos.csv.progress"), over])
    thread.start()
    yield over
    over.set()
    thread.join()


def _freeze(kafka: Kafka, saved: Path, over: threading.Event) -> None:
    def is_in_the_middle() -> bool:
        progress = Progress.load(saved)
        return over.is_set() or (progress is not None and progress.place.lines > LINES / 10)

    eventually(is_in_the_middle, seconds=60, what="the middle of the import")
    kafka.pause()
    try:
        over.wait(60)
    finally:
        kafka.resume()


def test_kafka_away_from_the_start(kafka_away: str, path: Path) -> None:
    done = run("import_todos", path)
    assert (done.code, done.out) == (2, "")
    assert done.said.startswith(f"Kafka at {kafka_away}: ")
    assert done.said.endswith(". 0 lines are done; the same command continues after them")
    assert "\n" not in done.said


def test_a_topic_that_is_not_there(own_topic: Topic, settings: Any, path: Path) -> None:
    settings.KAFKA = settings.KAFKA.model_copy(update={"topic": "absent"})
    done = run("import_todos", path)
    assert done.code == 2
    assert "topic absent does not exist; manage.py create_topics makes it" in done.said


def test_kafka_gone_in_the_middle(
    own_topic: Topic, path: Path, strike: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as hasty:
        hasty.setattr(kafka_bulk, "DELIVERY_MS", 3_000)
        hasty.setattr(kafka_bulk, "REQUEST_MS", 2_000)
        done = run("import_todos", path, "--rate", 8_000)
    strike.set()
    progress = Progress.load(path.with_name("todos.csv.progress"))
    assert progress is not None
    assert 0 < progress.place.lines < LINES
    assert done.code == 2
    assert done.said.endswith(f". {progress.place.lines:,} lines are done; the same command continues after them")

    eventually(lambda: records_in(own_topic) >= progress.accepted, seconds=60, what="Kafka to be back")
    assert run("import_todos", path).out == f"{LINES:,} todos accepted, 0 lines rejected\n"
    own_topic.poll(max_records=50_000)
    assert Todo.objects.count() == LINES


def test_a_short_outage_is_waited_for(own_topic: Topic, path: Path, strike: threading.Event) -> None:
    threading.Timer(6, strike.set).start()
    assert run("import_todos", path, "--rate", 8_000).out == f"{LINES:,} todos accepted, 0 lines rejected\n"
    own_topic.poll(max_records=50_000)
    assert Todo.objects.count() == LINES
