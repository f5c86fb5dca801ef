"""`make run` beside whatever else runs on this machine."""

import functools
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.environment import ROOT
from tests.integration.todos.management.support import NOWHERE
from tests.support.run import Run, eventually, processes_of
from todos.kafka import decoding


@pytest.fixture
def kafka_away(settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address that nothing answers at; it is given up soon, because waiting longer would prove no more."""
    monkeypatch.setattr("todos.kafka.admin.ADMIN_TIMEOUT_MS", 500)
    settings.KAFKA = settings.KAFKA.model_copy(update={"bootstrap_servers": NOWHERE})
    return NOWHERE


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
    assert eventually(lambda: processes_of(project) == [], 30)


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
