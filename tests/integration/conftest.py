"""Throwaway topics, edge processes, a broker to strike down, and `make run` beside what else runs on this machine."""

import functools
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from redis import Redis

from devstack import Kafka, Valkey
from devstack.environment import ROOT
from tests.support.edge import EdgeProcess, StartEdge
from tests.support.make_run import Run, processes_of
from tests.support.manage import NOWHERE
from tests.support.stack import running
from tests.support.topic import MakeTopic, Topic, throwaway_topic
from tests.support.waiting import eventually
from todos.kafka import decoding


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """Hash in no time: production's hash takes a good part of a second, by design, for each user and each sign-in."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def make_topic(kafka: Kafka) -> Iterator[MakeTopic]:
    with ExitStack() as topics:

        def make(partitions: int = 1) -> Topic:
            return topics.enter_context(throwaway_topic(django_settings.KAFKA, partitions))

        yield make


@pytest.fixture
def topic(make_topic: MakeTopic, settings: Any) -> Topic:
    """Three partitions; the admin and the commands use the topic too."""
    topic = make_topic(3)
    settings.KAFKA = topic.kafka
    return topic


@pytest.fixture
def queue(valkey: Valkey, settings: Any) -> Iterator[Redis]:
    """Redis, with none of the ticks that the tests before left in the queue."""
    with Redis.from_url(settings.CELERY_BROKER_URL) as redis:
        redis.delete("poll")
        yield redis


@pytest.fixture
def kafka_away(settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address that nothing answers at; it is given up soon, because waiting longer would prove no more."""
    monkeypatch.setattr("todos.kafka.admin.ADMIN_TIMEOUT_MS", 500)
    settings.KAFKA = settings.KAFKA.model_copy(update={"bootstrap_servers": NOWHERE})
    return NOWHERE


# --- A broker that tests freeze and kill


@pytest.fixture(scope="module")
def second_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with running(Kafka(tmp_path_factory.mktemp("second-kafka"))) as service:
        yield service


@pytest.fixture
def own_kafka(second_kafka: Kafka) -> Iterator[Kafka]:
    """To be frozen and killed; the next test finds it running."""
    yield second_kafka
    second_kafka.resume()


@pytest.fixture
def own_topic(own_kafka: Kafka, settings: Any) -> Iterator[Topic]:
    own = django_settings.KAFKA.model_copy(update={"bootstrap_servers": own_kafka.bootstrap_servers})
    with throwaway_topic(own, 3) as topic:
        settings.KAFKA = topic.kafka
        yield topic


# --- Edges


@pytest.fixture
def edge_environ(request: pytest.FixtureRequest) -> dict[str, str]:
    """Variables for the edges of a test; with either_kafka_api it runs with those of a changed kafka-python too."""
    return dict(getattr(request, "param", {}))


@pytest.fixture
def start_edge(tmp_path: Path, edge_environ: dict[str, str]) -> Iterator[StartEdge]:
    edges = []

    def start(bootstrap_servers: str, topic: str, **environ: str) -> EdgeProcess:
        edges.append(edge := EdgeProcess(tmp_path, bootstrap_servers, topic, **edge_environ, **environ))
        edge.start()
        return edge

    yield start
    for edge in edges:
        if edge.process is not None and edge.process.poll() is None:
            edge.stop()


# --- make run


@pytest.fixture
def public_kafka_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process finds another aiokafka than it expects, and reads by kafka-python's public API alone."""
    monkeypatch.setattr("todos.kafka.decoding.fast_path.DefaultRecordBatch", lambda _: iter(()))
    monkeypatch.setattr(decoding, "_reason_against_it", functools.cache(decoding._reason_against_it.__wrapped__))
    monkeypatch.setattr(decoding, "_warn", functools.cache(decoding._warn.__wrapped__))


@pytest.fixture(params=["inside", "public API"])
def either_kafka_api(request: pytest.FixtureRequest) -> str:
    """The test runs twice: with what todos.kafka.decoding leans on, and with kafka-python's public API alone."""
    if request.param == "public API":
        request.getfixturevalue("public_kafka_api")
    return str(request.param)


@pytest.fixture
def run(project: Path) -> Iterator[Run]:
    """Nothing of it may be left afterwards, whatever the test found."""
    run = Run(project)
    yield run
    if run.runner and run.runner.poll() is None:
        os.killpg(run.runner.pid, signal.SIGKILL)
        run.runner.wait()
    eventually(lambda: processes_of(project) == [], seconds=30, what="its processes to be gone")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone of the project that shares the downloaded jars and the packages of this test run."""
    clone = tmp_path / "a clone"  # `make run` has to work in a path with spaces
    unwanted = shutil.ignore_patterns(".git", ".venv*", ".env", ".devstack", "tests", "node_modules", "__pycache__")
    shutil.copytree(ROOT, clone, ignore=unwanted)
    downloads = ROOT / ".devstack" / "jars"
    downloads.mkdir(parents=True, exist_ok=True)
    (clone / ".devstack").mkdir()
    (clone / ".devstack" / "jars").symlink_to(downloads)
    (clone / ".venv").symlink_to(sys.prefix)
    return clone
