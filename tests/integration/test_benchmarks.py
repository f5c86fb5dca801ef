"""The benchmarks run, reconcile what they count, and say what they measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.environment import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
TINY = ("--quick", "--rounds", "1", "--seconds", "1", "--warmup", "0.5")


def test_the_edge_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "edge", *TINY, "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = tmp_path.glob("*-quick.json")
    (edge,) = json.loads(written.read_text())["parts"].values()
    assert "acknowledged = in Kafka = stored" in edge["reconciled"]
    assert {"cpu", "cores", "memory_gib", "kernel"} <= set(edge["machine"])
    assert "on" == edge["postgresql"]["fsync"] == edge["postgresql"]["synchronous_commit"]
    rounds = {measure["name"]: measure["rounds"]["ours"] for measure in edge["measures"]}
    assert all(value > 0 for name, values in rounds.items() if name.startswith("single POST") for value in values)
    assert written.with_suffix(".svg").is_file()
