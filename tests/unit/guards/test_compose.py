"""compose.yml and the Dockerfiles pass their static checks, and each check notices its fault."""

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from docker import variables
from docker.check_compose import complaints

ROOT = Path(__file__).resolve().parents[3]
WORKER_GRACE = "    stop_grace_period: 100s\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    for file in ("compose.yml", "compose.brokers.yml"):
        shutil.copy(ROOT / file, tmp_path)
    return tmp_path


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_compose_passes(tree: Path) -> None:
    assert complaints(tree) == []


def test_the_programs_read_every_variable_that_they_are_given() -> None:
    services = yaml.safe_load((ROOT / "compose.yml").read_text())["services"]
    sides = dict.fromkeys(("migrate", "web", "worker", "beat"), variables.DJANGO) | {"edge": variables.EDGE}
    for service, read in sides.items():
        given = set(services[service]["environment"])
        assert variables.unknown(given, read | variables.KAFKA) == [], service
        assert read & variables.REQUIRED <= given, service


@pytest.mark.parametrize("target", ["postgres", "redis", "kafka"])
def test_waiting_for_the_health_of_a_service_without_healthcheck_fails(tree: Path, target: str) -> None:
    model = yaml.safe_load((tree / "compose.yml").read_text())
    del model["services"][target]["healthcheck"]
    (tree / "compose.yml").write_text(yaml.safe_dump(model))
    assert f"waits for {target} to be healthy, which has no healthcheck" in "\n".join(complaints(tree))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        (file, *fault)
        for file, faults in {
            "compose.yml": [
                ("      test: [CMD, valkey-cli, ping]", "      disable: true", "redis to be healthy, which has no"),
                ("      test: [CMD, valkey-cli, ping]", '      test: ["NONE"]', "redis to be healthy, which has no"),
                (WORKER_GRACE, "    stop_grace_period: 90s\n", "worker is killed after 0:01:30"),
                (WORKER_GRACE, "", "worker is killed after 0:00:10"),
                ("  edge:\n", "  edge:\n    container_name: edge\n", "edge has a container_name"),
                ("  edge:\n", "  edge:\n    ports: ['127.0.0.1:7007:7007']\n", "edge publishes a port"),
                ("  kafka:\n", "  kafka:\n    ports: ['127.0.0.1:9092:9092']\n", "kafka publishes a port"),
                ("      WEB_SERVERS: web:7008\n", "", "proxy must be given EDGE_SERVERS, OUTER_PROXIES, WEB_SERVERS"),
                ("valkey/valkey:9", "valkey/valkey:9@sha256:9", "valkey/valkey:9: sha256:9 is not sha256: and 64"),
                ("condition: service_healthy", "condition: service_heathy", "condition value must be one of"),
                ("    restart: always\n", "    restrat: always\n", "restrat"),
                ("  pids_limit: 200\n", "", "redis lacks pids_limit"),
                ("    mem_limit: 2g  #", "    #", "kafka lacks mem_limit"),
                ("services:\n", "services: [\n", "yaml: line"),
                ("${WEB_PORT:-7008}", "${WEB_PORT:-7008", "invalid interpolation format"),
                # compose-lint's
                ("127.0.0.1:${WEB_PORT", "${WEB_PORT", "proxy: CL-0005"),
                ("${DJANGO_SECRET_KEY:?", "${DJANGO_SECRET_KEY:-changeme", "migrate: CL-0020"),
                ("redis://redis:6379/0", "redis://:hunter2@redis:6379/0", "web: CL-0021"),
                ("  read_only: true\n", "", "edge: CL-0007"),
                ("  cap_drop: [ALL]\n", "  cap_drop: [NET_RAW]\n", "web: CL-0006"),
                ("  cap_drop: [ALL]\n", "  cap_drop: [ALL]\n  cap_add: [NET_ADMIN]\n", "web: CL-0011"),
                ('  security_opt: ["no-new-privileges:true"]\n', "", "worker: CL-0003"),
                ("  init: true\n", "  init: true\n  privileged: true\n", "beat: CL-0002"),
                ("    user: postgres\n", "    user: root\n", "postgres: CL-0018"),
            ],
            "compose.brokers.yml": [
                ("    hostname: kafka-2\n", "    hostname: kafka-2\n    privileged: true\n", "kafka-2: CL-0002"),
            ],
            "docker/k8s/haproxy.cfg": [("path / /admin", "path / /metrics /admin", "serves /metrics of web")],
            "docker/edge.Dockerfile": [
                ("USER 10001:10001\n", user, "edge.Dockerfile runs as root")
                for user in ("", "USER 0:0\n", "USER 10001:10001\nUSER 0\n")
            ],
        }.items()
        for fault in faults
    ],
)
def test_a_fault_is_named(tree: Path, file: str, old: str, new: str, complaint: str) -> None:
    replace(tree / file, old, new)
    assert complaint in "\n".join(complaints(tree))


@pytest.mark.parametrize("dockerfile", ["django.Dockerfile", "edge.Dockerfile"])
def test_a_missing_dockerfile_fails(tree: Path, dockerfile: str) -> None:
    (tree / "docker" / dockerfile).unlink()
    assert f"is built from docker/{dockerfile}, which does not exist" in "\n".join(complaints(tree))


def test_a_longer_task_needs_a_longer_grace(tree: Path) -> None:
    found = complaints(tree, hard_limit=timedelta(seconds=100))
    assert ["worker is killed after 0:01:40, before the task's hard limit of 0:01:40"] == found


@pytest.mark.parametrize(
    ("linter", "file", "fault"),
    [("hadolint", "edge.Dockerfile", "RUN cd /tmp\n"), ("shellcheck", "migrate.sh", "rm $1/*\n")],
)
def test_the_linters_notice_a_fault(tree: Path, linter: str, file: str, fault: str) -> None:
    path = tree / "docker" / file
    command = [str(Path(sys.executable).with_name(linter)), str(path)]
    assert subprocess.run(command, check=False).returncode == 0
    with path.open("a") as text:
        text.write(fault)
    assert subprocess.run(command, check=False).returncode == 1
