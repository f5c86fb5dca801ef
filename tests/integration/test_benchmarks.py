"""The benchmarks run, reconcile what they count, and say what they measured."""

import json
import subprocess
import sys
from pathlib import Path

from devstack.environment import ROOT
from todos.capacity.costs import read

TINY = ("--quick", "--rounds", "1", "--seconds", "1", "--warmup", "0.5", "--scaling-rows", "20000")
MAY_BE_NOISE = ("rest", "small_cores")  # differences, of a second only


def written_by(part: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "benchmarks", part, *TINY, "--results", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = folder.glob("*-quick.json")
    return written


def test_the_edge_is_measured(tmp_path: Path) -> None:
    written = written_by("edge", tmp_path)
    (edge,) = json.loads(written.read_text())["parts"].values()
    assert "acknowledged = in Kafka = stored" in edge["reconciled"]
    assert {"cpu", "cores", "memory_gib", "kernel"} <= set(edge["machine"])
    assert "on" == edge["postgresql"]["fsync"] == edge["postgresql"]["synchronous_commit"]
    rounds = {measure["name"]: measure["rounds"]["ours"] for measure in edge["measures"]}
    assert all(value > 0 for name, values in rounds.items() if name.startswith("single POST") for value in values)
    assert written.with_suffix(".svg").is_file()


def test_what_a_todo_costs_is_measured(tmp_path: Path) -> None:
    costs = read(written_by("scaling", tmp_path)).costs
    for stage in (costs.single, costs.batch, costs.drain):
        assert [] == [name for name, value in stage._asdict().items() if value <= 0 and name not in MAY_BE_NOISE]
    assert 100 < costs.single.record < 1000
    assert 100 < costs.drain.heap < 1000
