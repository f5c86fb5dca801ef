"""`make run` in a copy of the project, and what it may leave behind: nothing."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil

from devstack.ports import free_port
from tests.support.waiting import eventually


def processes_of(directory: Path) -> list[int]:
    """Processes whose command line, folder or environment names the directory."""
    found = []
    for process in psutil.process_iter():
        try:
            named = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except (psutil.Error, OSError):
            continue
        if process.pid != os.getpid() and any(str(directory) in text for text in named):
            found.append(process.pid)
    return found


class Run:
    """`make run`'s program in a copy of the project on free ports, so that it can stand beside a real one."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.web = free_port()
        self.edge = free_port()
        names = ("DJANGO_", "KAFKA_", "EDGE_", "DATABASE_URL", "REDIS_URL", "MAKE")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        self.env = inherited | {"EDGE_PORT": str(self.edge), "WEB_PORT": str(self.web)}
        self.log = project / "run.log"
        self.runner: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            self.runner = subprocess.Popen(
                command or [sys.executable, "-m", "devstack", "run"],
                cwd=self.project,
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.runner

    def start_until(self, line: str, *command: str) -> subprocess.Popen[bytes]:
        runner = self.start(*command)
        eventually(
            lambda: line in self.log.read_text() or runner.poll() is not None, seconds=120, what=f"{line!r} in its log"
        )
        assert runner.poll() is None, self.log.read_text()
        return runner

    def call(self, port: int, path: str, body: object = None) -> dict[str, object]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as response:
            answer: dict[str, object] = json.load(response)
        return answer

    def titles(self) -> list[object]:
        results = self.call(self.web, "/api/todos/")["results"]
        assert isinstance(results, list)
        return [todo["title"] for todo in results]
