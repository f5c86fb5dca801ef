"""Starts the load client and reads its result."""

import json
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict

from benchmarks.client import Job, Result
from benchmarks.world import NotReconciled
from devstack.environment import ROOT

ACCEPTED = {"202", "207"}


class Client:
    """Runs from now on. Its result goes through a file: a pipe would be full before anybody reads it."""

    def __init__(self, job: Job) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        command = [sys.executable, "-m", "benchmarks.client", json.dumps(asdict(job))]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=self._output)  # noqa: S603 - ours

    def is_running(self) -> bool:
        return self._process.poll() is None

    def result(self) -> Result:
        """Waits for it. Raises NotReconciled when an answer was another one."""
        if self._process.wait():
            raise RuntimeError("the load client failed; its words are above")
        self._output.seek(0)
        result = Result(**json.load(self._output))
        if set(result.statuses) - ACCEPTED:
            raise NotReconciled(f"not every request was accepted: {result.statuses}")
        return result

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()


def run(job: Job) -> Result:
    with closing(Client(job)) as client:
        return client.result()
