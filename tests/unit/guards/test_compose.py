"""compose.yml and the Dockerfiles pass their static checks, and each check notices its fault."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docker import variables

ROOT = Path(__file__).resolve().parents[3]
WORKER_GRACE = "    stop_grace_period: 100s\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    for file in ("compose.yml", "compose.brokers.yml"):
        shutil.copy(ROOT / file, tmp_path)
    (tmp_path / "todos").mkdir()
    shutil.copy(ROOT / "todos" / "tasks.py", tmp_path / "todos")
    return tmp_path


def complaints(tree: Path) -> str:
    """What the check says as it fails; empty when it passes."""
    command = [sys.executable, "docker/check_compose.py"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == bool(done.stderr), done.stderr
    return done.stderr


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_compose_passes(tree: Path) -> None:
    assert complaints(tree) == ""


@pytest.mark.parametrize("dockerfile", ["django.Dockerfile", "edge.Dockerfile"])
def test_a_missing_dockerfile_fails(tree: Path, dockerfile: str) -> None:
    (tree / "docker" / dockerfile).unlink()
    assert f"is built from docker/{dockerfile}, which does not exist" in complaints(tree)


def test_the_programs_read_every_variable_that_they_are_given() -> None:
    services = yaml.safe_load((ROOT / "compose.yml").read_text())["services"]
    kafka, edge = variables.of_kafka(), variables.of_edge()
    django = variables.of_django()
    sides = dict.fromkeys(("migrate", "web", "worker", "beat"), django) | {"edge": edge}
    for service, known in sides.items():
        given = set(services[service]["environment"])
        assert known.strangers(given - kafka.known) == [], service
        assert known.required - given == set(), service


@pytest.mark.parametrize("target", ["postgres", "redis", "kafka"])
def test_waiting_for_the_health_of_a_service_without_healthcheck_fails(tree: Path, target: str) -> None:
    model = yaml.safe_load((tree / "compose.yml").read_text())
    del model["services"][target]["healthcheck"]
    (tree / "compose.yml").write_text(yaml.safe_dump(model))
    assert f"waits for {target} to be healthy, which has no healthcheck" in complaints(tree)


@pytest.mark.parametrize("healthcheck", ["disable: true", 'test: ["NONE"]'])
def test_a_switched_off_healthcheck_is_none(tree: Path, healthcheck: str) -> None:
    replace(tree / "compose.yml", "      test: [CMD, valkey-cli, ping]", f"      {healthcheck}")
    assert "waits for redis to be healthy, which has no healthcheck" in complaints(tree)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (WORKER_GRACE, "    stop_grace_period: 90s\n", "worker is killed after 0:01:30"),
        (WORKER_GRACE, "", "worker is killed after 0:00:10"),
        ("127.0.0.1:${WEB_PORT", "${WEB_PORT", "web publishes port 7008 on more than 127.0.0.1"),
        ("  edge:\n", "  edge:\n    container_name: edge\n", "edge has a container_name"),
        ("  edge:\n", "  edge:\n    ports: ['127.0.0.1:7007:7007']\n", "edge publishes a port, so it cannot scale"),
        ("${DJANGO_SECRET_KEY:?", "${DJANGO_SECRET_KEY:-changeme", "DJANGO_SECRET_KEY has a default"),
        ("condition: service_healthy", "condition: service_heathy", "condition value must be one of"),
        ("    restart: always\n", "    restrat: always\n", "restrat"),
        ("  read_only: true\n", "", "edge can write to its root file system"),
        ("  cap_drop: [ALL]\n", "  cap_drop: [NET_RAW]\n", "web keeps capabilities"),
        ("  cap_drop: [ALL]\n", "  cap_drop: [ALL]\n  cap_add: [NET_ADMIN]\n", "web keeps capabilities"),
        ('  security_opt: ["no-new-privileges:true"]\n', "", "worker may gain privileges"),
        ("  init: true\n", "  init: true\n  privileged: true\n", "beat is privileged"),
        ("    user: postgres\n", "    user: root\n", "postgres may run as root"),
        ("  pids_limit: 200\n", "", "redis has no limit on processes"),
        ("    mem_limit: 2g  #", "    #", "kafka has no limit on memory"),
        ("services:\n", "services: [\n", "compose.yml"),
    ],
)
def test_a_fault_in_compose_is_named(tree: Path, old: str, new: str, complaint: str) -> None:
    replace(tree / "compose.yml", old, new)
    assert complaint in complaints(tree)


@pytest.mark.parametrize("user", ["", "USER 0:0\n", "USER 10001:10001\nUSER 0\n"])
def test_an_image_that_runs_as_root_fails(tree: Path, user: str) -> None:
    replace(tree / "docker" / "edge.Dockerfile", "USER 10001:10001\n", user)
    assert "edge.Dockerfile runs as root" in complaints(tree)


def test_a_longer_task_needs_a_longer_grace(tree: Path) -> None:
    replace(tree / "todos" / "tasks.py", "HARD_LIMIT_SECONDS = 75, 90", "HARD_LIMIT_SECONDS = 75, 100")
    assert "before the task's hard limit of 0:01:40" in complaints(tree)


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
