"""Starts the load client and reads its result."""

import json
import os
import subprocess
import sys
from dataclasses import asdict

from benchmarks.client import Job, Result
from benchmarks.world import NotReconciled
from devstack.environment import ROOT


def start(job: Job) -> subprocess.Popen[str]:
    client = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.client"],
        cwd=ROOT,
        env=dict(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdin is not None  # noqa: S101 - for mypy
    client.stdin.write(json.dumps(asdict(job)))
    client.stdin.close()
    client.stdin = None  # or communicate() would flush it
    return client


def finish(client: subprocess.Popen[str], *, accepted: tuple[int, ...] = (202,)) -> Result:
    """Raises NotReconciled when an answer was anything else."""
    output, _ = client.communicate()
    if client.returncode:
        raise RuntimeError("the load client failed; its words are above")
    result = Result(**json.loads(output))
    statuses = {int(status): count for status, count in result.statuses.items()}
    if set(statuses) - set(accepted):
        raise NotReconciled(f"not every request was accepted: {statuses}")
    return result


def run(job: Job, *, accepted: tuple[int, ...] = (202,)) -> Result:
    return finish(start(job), accepted=accepted)
