"""Throwaway topics, edge processes, a broker to strike down, and `make run` beside what else runs on this machine."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from devstack import Kafka
from devstack.environment import ROOT
from tests.support.edge import EdgeProcess, StartEdge
from tests.support.make_run import Run, processes_of
from tests.support.manage import NOWHERE
from tests.support.stack import running
from tests.support.topic import MakeTopic, Topic, throwaway_topic
from tests.support.waiting import eventually


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
def kafka_away(settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address that nothing answers at; it is given up soon, because waiting longer would prove no more."""
    monkeypatch.setattr("todos.kafka.consumer.ADMIN_TIMEOUT_MS", 500)
    settings.KAFKA = settings.KAFKA.model_copy(update={"bootstrap_servers": NOWHERE})
    return NOWHERE


# --- A broker that tests freeze and kill


@pytest.fixture(scope="session")
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
def start_edge(tmp_path: Path) -> Iterator[StartEdge]:
    edges = []

    def start(bootstrap_servers: str, topic: str, **environ: str) -> EdgeProcess:
        edges.append(edge := EdgeProcess(tmp_path, bootstrap_servers, topic, **environ))
        edge.start()
        return edge

    yield start
    for edge in edges:
        if edge.process is not None and edge.process.poll() is None:
            edge.stop()


# --- make run


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
    """A clone of the project that shares only the downloaded jars."""
    clone = tmp_path / "clone"
    unwanted = shutil.ignore_patterns(".git", ".venv", ".env", ".devstack", "tests", "node_modules", "__pycache__")
    shutil.copytree(ROOT, clone, ignore=unwanted)
    downloads = ROOT / ".devstack" / "jars"
    downloads.mkdir(parents=True, exist_ok=True)
    (clone / ".devstack").mkdir()
    (clone / ".devstack" / "jars").symlink_to(downloads)
    return clone
