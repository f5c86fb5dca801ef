"""A Docker engine: the one that runs here, or one of our own, started by hand in a folder of its own."""

import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from devstack.process import Process, ServiceError
from tests.containers import host

START_SECONDS = 60.0
STOP_SECONDS = 60.0
# What pip in both Dockerfiles has to reach.
INDEX = "pypi.org/443"
T = TypeVar("T")


class NoEngine(Exception):
    """No engine runs here and none can be started, or it can do nothing here; the message says why."""


class Failed(Exception):
    """The check failed; the message is for people."""


class Engine:
    def __init__(self, socket: str | None, version: str) -> None:
        """`socket` None: the engine of this machine."""
        self.version = version
        self.is_own = socket is not None
        self.env = os.environ | ({"DOCKER_HOST": socket} if socket else {})
        self._running: set[subprocess.Popen[str]] = set()
        self._is_over = False

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
        title = " ".join(command)[:200]
        if self._is_over:
            raise Failed(f"{title}: not begun, because another step failed")
        environ = self.env | dict(env or {})
        with subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            self._running.add(process)
            try:
                output, errors = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                raise Failed(f"{title}: not done after {seconds:.0f} s") from None
            finally:
                self._running.discard(process)
                process.kill()
        if process.returncode:
            raise Failed(f"{title}: {(output + errors).strip()[-2000:]}")
        return output

    def together(self, *jobs: Callable[[], T]) -> list[T]:
        """All at once; what each returns. When one fails, or the run is interrupted, the others end too."""
        with ThreadPoolExecutor(len(jobs)) as pool:
            futures = [pool.submit(job) for job in jobs]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                _ = [future.result() for future in done]  # raises what one of them raised
                return [future.result() for future in futures]
            except BaseException:
                self._is_over = True
                while wait(futures, timeout=0.2).not_done:
                    for process in list(self._running):
                        process.kill()
                raise
            finally:
                self._is_over = False


@contextmanager
def running_engine() -> Iterator[Engine]:
    """Raises NoEngine. What was started here is ended here, with all its images, containers and networks."""
    if not shutil.which("docker"):
        raise NoEngine("docker is missing (Debian: apt-get install docker.io mmdebstrap)")
    if version := _server_version(None):
        yield Engine(None, version)
        return
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        raise NoEngine("no Docker engine answers here, and only root with dockerd can start one")
    # Short: a socket's path may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="todo-engine-", dir="/var/tmp"))
    before = host.state()
    try:
        with _own_engine(folder) as engine:
            _try_a_container(engine, folder)
            yield engine
    finally:
        host.restore(before, folder)
        shutil.rmtree(folder, ignore_errors=True)
    if left := host.differences(before, folder):
        raise Failed(f"the engine leaves behind: {', '.join(left)}")


@contextmanager
def _own_engine(folder: Path) -> Iterator[Engine]:
    socket = f"unix://{folder}/docker.sock"
    options = [
        f"--data-root={folder}/data",
        f"--exec-root={folder}/exec",
        f"--pidfile={folder}/pid",
        f"--host={socket}",
    ]
    daemon = Process("dockerd", ["dockerd", *options], log=folder / "dockerd.log")
    try:
        try:
            daemon.start()
            daemon.wait_ready(lambda: bool(_server_version(socket)), seconds=START_SECONDS)
        except ServiceError as exc:
            raise NoEngine(_why(folder / "dockerd.log") or str(exc)) from exc
        yield Engine(socket, _server_version(socket))
    finally:
        _end(daemon)


def _why(log: Path) -> str:
    """dockerd's own reason, which may have several lines."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    return (
        " ".join(text[text.find("failed to start daemon") :].split())[:250] if "failed to start daemon" in text else ""
    )


def _end(daemon: Process) -> None:
    """The signal is for it alone: to end what runs in containers, it needs its own helpers."""
    if daemon.pid:
        os.kill(daemon.pid, signal.SIGTERM)
        daemon.wait(STOP_SECONDS)
    daemon.stop()


def _try_a_container(engine: Engine, folder: Path) -> None:
    """With nothing but this machine's /usr: whether there are namespaces, mounts and a way out. Raises NoEngine."""
    archive = folder / "empty.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("bin", "lib", "lib64"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(link)
    reach = ["timeout", "30", "bash", "-c", f": </dev/tcp/{INDEX}"]
    try:
        engine.docker("import", str(archive), "todo-empty")
        engine.docker("run", "--rm", "--volume=/usr:/usr:ro", "--env=PATH=/usr/bin", "todo-empty", *reach, seconds=60)
    except Failed as exc:
        raise NoEngine(f"a container cannot run here, or not reach the network ({str(exc).splitlines()[-1]})") from exc


def _server_version(socket: str | None) -> str:
    """Empty where no engine answers."""
    options = ["--host", socket] if socket else []
    return host.output("docker", *options, "version", "--format", "{{.Server.Version}}").strip()
