"""A short run of `make chaos`; one that is interrupted; and a build broken on purpose, which it must not pass."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from devstack.jars import find_java
from tests.support.make_run import processes_of
from tests.support.stack import ROOT
from tests.support.waiting import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]
RUN_SECONDS = 240


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """With all its files, and so all its processes, below the folder."""
    command = [sys.executable, "-m", "tests.chaos", *options]
    env = os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    report = folder / "report.json"
    chaos = start(folder, "--seed", "1", "--json", str(report), *options)
    try:
        output, _ = chaos.communicate(timeout=RUN_SECONDS)
    finally:
        chaos.kill()
    print(output)
    return chaos.returncode, json.loads(report.read_text())


def test_faults_in_random_order_lose_nothing_and_store_nothing_twice(tmp_path: Path) -> None:
    # In the order of seed 1 the restore is the fourth, after conflicts and poison.
    faults = "poison,duplicates,conflicts,kill-child,crash-after-commit,immediate-postgres,stop-broker,restore"

    code, report = run(tmp_path, "--seconds", "30", "--hold", "2", "--faults", faults)

    assert {} == report["violations"]
    assert 0 == code
    every = report["lines"][-1]
    assert every["acknowledged"] == every["stored"] > 200
    assert 0 == every["lost"] == every["stored_twice"]
    struck = {injection["fault"] for injection in report["injections"]}
    assert "restore" in struck
    assert 4 <= len(struck)


@pytest.mark.skipif(find_java() is None, reason="three brokers need Apache Kafka, and so Java")
def test_one_of_three_brokers_may_die(tmp_path: Path) -> None:
    code, report = run(tmp_path, "--seconds", "1", "--hold", "1", "--faults", "kill-one-of-three")

    assert {} == report["violations"]
    assert 0 == code
    assert 0 < report["lines"][0]["acknowledged"]
    assert report["lines"][-1]["acknowledged"] == report["lines"][-1]["stored"]


def test_a_ledger_outside_the_transaction_is_found_out(tmp_path: Path) -> None:
    options = ("--seconds", "1", "--hold", "2", "--patience", "5", "--faults", "crash-before-insert", "--broken")

    code, report = run(tmp_path, *options)

    assert 1 == code
    (injection,) = report["injections"]
    assert 2 <= injection["repaired_at"] - injection["struck_at"]
    assert report["violations"]["acknowledged, but lost"]
    assert report["violations"]["record with no outcome"]
    assert 0 < report["lines"][-1]["lost"]


def test_ctrl_c_ends_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    faults = "freeze-postgres,freeze-broker,full-disk,locked-table"
    chaos = start(tmp_path, "--seconds", "100", "--hold", "2", "--faults", faults)
    assert chaos.stdout is not None
    try:
        assert any("caught up after" in line for line in chaos.stdout), "no fault within the time of the run"
        chaos.send_signal(signal.SIGINT)
        output, _ = chaos.communicate(timeout=RUN_SECONDS)
    finally:
        chaos.kill()

    assert 130 == chaos.returncode, output
    eventually(lambda: processes_of(tmp_path) == [], seconds=10, what="its processes to be gone")
    assert [] == list(tmp_path.iterdir())
    assert [] == [mount for mount in psutil.disk_partitions(all=True) if str(tmp_path) in mount.mountpoint]
