"""The benchmarks run, reconcile what they count, and say what they measured."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devstack.environment import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
TINY = ("--quick", "--rounds", "1", "--seconds", "1", "--warmup", "0.5", "--rows", "20000")


def run(part: str, folder: Path) -> dict[str, Any]:
    """Return the section of one part."""
    command = [sys.executable, "-m", "benchmarks", part, *TINY, "--results", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = folder.glob("*-quick.json")
    assert written.with_suffix(".svg").is_file()
    section: dict[str, Any] = json.loads(written.read_text())["parts"][part]
    return section


def test_the_edge_is_measured(tmp_path: Path) -> None:
    edge = run("edge", tmp_path)
    assert "acknowledged = in Kafka = stored" in edge["reconciled"]
    assert {"cpu", "cores", "memory_gib", "kernel"} <= set(edge["machine"])
    assert "on" == edge["postgresql"]["fsync"] == edge["postgresql"]["synchronous_commit"]
    assert {"bare", "aiokafka"} <= {measure.get("baseline_name") for measure in edge["measures"]}
    assert all(value > 0 for measure in edge["measures"] for value in measure["rounds"]["ours"])


def test_the_drain_is_measured(tmp_path: Path) -> None:
    drain = run("drain", tmp_path)
    assert "in Kafka = stored" in drain["reconciled"]
    compared = [measure["rounds"] for measure in drain["measures"] if measure["rounds"]["baseline"]]
    assert all(value > 0 for rounds in compared for value in (*rounds["ours"], *rounds["baseline"]))
