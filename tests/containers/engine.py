"""A Docker engine: the one that runs here, or one of our own, started by hand in a folder of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from devstack.process import Process, ServiceError

START_SECONDS = 60.0
STOP_SECONDS = 60.0


class NoEngine(Exception):
    """No engine runs here and none can be started; the message says why."""


class Failed(Exception):
    """The check failed; the message is for people."""


class Engine:
    def __init__(self, host: str | None, version: str) -> None:
        self.version = version
        self.env = os.environ | ({"DOCKER_HOST": host} if host else {})

    def docker(self, *arguments: str, seconds: float = 300) -> str:
        """Its output. Raises Failed with its last words."""
        return self.run(["docker", *arguments], seconds=seconds)

    def try_docker(self, *arguments: str, seconds: float = 300) -> bool:
        try:
            self.docker(*arguments, seconds=seconds)
        except Failed:
            return False
        return True

    def run(self, command: list[str], *, env: Mapping[str, str] | None = None, seconds: float = 300) -> str:
        try:
            done = subprocess.run(
                command, env=self.env | dict(env or {}), capture_output=True, text=True, check=False, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(command)[:200]}: not done after {seconds:.0f} s") from None
        if done.returncode:
            raise Failed(f"{' '.join(command)[:200]}: {(done.stdout + done.stderr).strip()[-2000:]}")
        return done.stdout


@contextmanager
def running_engine() -> Iterator[Engine]:
    """Raises NoEngine. What was started here is ended here, with all its images, containers and networks."""
    if not shutil.which("docker"):
        raise NoEngine("there is no docker here (Debian: apt-get install docker.io mmdebstrap)")
    if version := _server_version(None):
        yield Engine(None, version)
        return
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        raise NoEngine("no Docker engine answers here, and only root with dockerd can start one")
    # Short: a socket's path may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="todo-engine-", dir="/var/tmp"))
    try:
        with _firewall_as_before(), _own_engine(folder) as engine:
            yield engine
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _own_engine(folder: Path) -> Iterator[Engine]:
    host = f"unix://{folder}/docker.sock"
    options = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid", f"--host={host}"]
    daemon = Process("dockerd", ["dockerd", *options], log=folder / "dockerd.log")
    daemon.start()
    try:
        daemon.wait_ready(lambda: bool(_server_version(host)), seconds=START_SECONDS)
        yield Engine(host, _server_version(host))
    except ServiceError as exc:
        raise NoEngine(str(exc)) from exc
    finally:
        daemon.stop(seconds=STOP_SECONDS)


@contextmanager
def _firewall_as_before() -> Iterator[None]:
    """dockerd leaves its bridge and its rules behind, and forwards packets of nobody else."""
    had_bridge = Path("/sys/class/net/docker0").exists()
    rules = {tool: _output(f"{tool}-save") for tool in ("iptables", "ip6tables")}
    try:
        yield
    finally:
        for tool, text in rules.items():
            if text:
                subprocess.run([f"{tool}-restore"], input=text, text=True, check=False, capture_output=True)
        if not had_bridge:
            subprocess.run(["ip", "link", "delete", "docker0"], check=False, capture_output=True)


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def _server_version(host: str | None) -> str:
    """Empty where no engine answers."""
    options = ["--host", host] if host else []
    return _output("docker", *options, "version", "--format", "{{.Server.Version}}").strip()
