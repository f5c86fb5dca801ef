"""Short runs of `make chaos`; one that is interrupted; and a build broken on purpose, which it must not pass."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from pytest_django import DjangoDbBlocker

from devstack.jars import find_java
from tests.chaos.campaign import drain, run_faults
from tests.chaos.evidence import Evidence
from tests.chaos.faults import FAULTS
from tests.chaos.load import Load
from tests.chaos.report import findings
from tests.chaos.world import BROKEN, WORKERS, World, running_world
from tests.support.make_run import processes_of
from tests.support.stack import ROOT, Services
from tests.support.waiting import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]
RUN_SECONDS = 240


@pytest.fixture
def world(
    shared_services: Services, template: str, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> Iterator[World]:
    """Faults may strike only what is the world's own: its programs, its database and its topic."""
    with running_world(shared_services, template, tmp_path, django_db_blocker, seed=1, rate=50) as world:
        yield world


class Outcome(NamedTuple):
    struck: set[str]
    evidence: Evidence
    findings: dict[str, list[str]]


def strike(world: World, *names: str, seed: int = 1, patience: float = 120) -> Outcome:
    """Each fault once, and briefly."""
    faults = [FAULTS[name]._replace(hold_seconds=(0.5, 0.5)) for name in names]
    run = run_faults(world, faults, seed=seed, seconds=600, patience=patience, tell=print, done=print)
    with closing(run):
        injections = list(islice(run, len(faults)))
    evidence = drain(world)
    struck = {injection.fault for injection in injections}
    return Outcome(struck, evidence, findings(evidence, injections, world.probe.answers))


def test_faults_lose_nothing_and_store_nothing_twice_unless_the_build_is_broken(world: World) -> None:
    # In the order of seed 8 the restore is the last.
    names = ("poison", "duplicates", "conflicts", "kill-child", "crash-after-commit", "restore")

    outcome = strike(world, *names, seed=8)

    assert {} == outcome.findings
    assert {*names} == outcome.struck
    accepted, places = outcome.evidence.journal.accepted, outcome.evidence.places
    assert 200 < len(accepted)
    assert {1} == {places[todo_id] for todo_id in accepted}

    outcome = strike(broken(world), "crash-before-insert", patience=3)

    assert outcome.findings["acknowledged, but lost"]
    assert outcome.findings["record with no outcome"]


def broken(world: World) -> World:
    """The same world with clients of its own, in which the ledger moves outside the transaction, as with --broken."""
    for name in WORKERS:
        with world.supervisor.kept_down(name):
            world.stack.processes[name].stop()
            world.stack.processes[name].env |= BROKEN
    world.stack.edge()
    return replace(world, load=Load(world.stack.edge_url, world.journal, rate=50))


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """With all its files, and so all its processes, below the folder."""
    command = [sys.executable, "-m", "tests.chaos", *options]
    env = os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.skipif(find_java() is None, reason="three brokers need Apache Kafka, and so Java")
def test_one_of_three_brokers_may_die(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    options = ("--seed", "1", "--seconds", "1", "--hold", "1", "--brokers", "3", "--faults", "kill-one-of-three")
    chaos = start(tmp_path, *options, "--json", str(path))
    try:
        output, _ = chaos.communicate(timeout=RUN_SECONDS)
    finally:
        chaos.kill()

    print(output)
    report = json.loads(path.read_text())
    assert {} == report["violations"]
    assert 0 == chaos.returncode
    (injection,) = report["injections"]
    assert 1 <= injection["repaired_at"] - injection["struck_at"]
    assert 0 < report["lines"][0]["acknowledged"]
    assert report["lines"][-1]["acknowledged"] == report["lines"][-1]["stored"]


def test_ctrl_c_ends_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    # In the order of seed 1 the database is frozen first, above the small disk of the other fault.
    options = ("--seed", "1", "--seconds", "100", "--brokers", "1", "--faults", "freeze-postgres,full-disk")
    chaos = start(tmp_path, *options, "--hold", "100")
    try:
        eventually(lambda: is_frozen(tmp_path), seconds=RUN_SECONDS, what="the first fault", every=0.5)
        chaos.send_signal(signal.SIGINT)
        output, _ = chaos.communicate(timeout=RUN_SECONDS)
    finally:
        chaos.kill()

    assert 130 == chaos.returncode, output
    eventually(lambda: processes_of(tmp_path) == [], seconds=10, what="its processes to be gone")
    assert [] == list(tmp_path.iterdir())
    assert [] == [mount for mount in psutil.disk_partitions(all=True) if str(tmp_path) in mount.mountpoint]


def is_frozen(folder: Path) -> bool:
    """Whether some process below the folder is stopped by a signal."""
    processes = (psutil.Process(pid) for pid in processes_of(folder) if psutil.pid_exists(pid))
    return any(process.status() == psutil.STATUS_STOPPED for process in processes)
