"""`make run` beside whatever else runs on this machine."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.environment import ROOT
from tests.integration.todos.management.support import NOWHERE
from tests.support.run import Run, eventually, processes_of


@pytest.fixture
def kafka_away(settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address that nothing answers at; it is given up soon, because waiting longer would prove no more."""
    monkeypatch.setattr("todos.kafka.consumer.ADMIN_TIMEOUT_MS", 500)
    settings.KAFKA = settings.KAFKA.model_copy(update={"bootstrap_servers": NOWHERE})
    return NOWHERE


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
