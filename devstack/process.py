"""A program with everything it starts: its own session, its log file, signals to the whole tree."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from devstack import guard

POLL_SECONDS = 0.05


class ServiceError(RuntimeError):
    """A service could not be started; the message is one line that says what to do or where to look."""


class Process:
    """A restartable program. Signals reach the whole process tree, not only the process group: PostgreSQL's
    backends and honcho's programs have sessions of their own."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """`log` None leaves the output on the terminal; `env` is added to this process' environment."""
        self.name = name
        self.command = list(command)
        self.log = log
        self.env = dict(env or {})
        self.cwd = cwd
        self.stdin = stdin
        self.stop_signal = stop_signal
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen is not None and self._popen.poll() is None else None

    def start(self) -> None:
        if self.pid is not None:
            return
        output = self.log.open("ab") if self.log is not None else None
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - the command is ours
                self.command,
                stdin=self.stdin,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                env=os.environ | self.env,
                cwd=self.cwd,
                start_new_session=True,
            )
        except FileNotFoundError as exc:
            raise ServiceError(f"{self.name}: {exc.filename} is missing") from exc
        finally:
            if output:
                output.close()
        guard.watch(self._popen.pid, self.stop_signal)

    def wait_ready(self, is_ready: Callable[[], bool], *, seconds: float) -> None:
        """Raises ServiceError when the program ends or the time is up; it then no longer runs."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            if self.pid is None:
                raise ServiceError(f"{self.name} ended while starting{self.last_words()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServiceError(f"{self.name} was not ready after {seconds:.0f} s{self.last_words()}")
            time.sleep(POLL_SECONDS)

    def end_input(self) -> None:
        """Close the pipe that the program was started with as its `stdin`."""
        if self._popen is not None and self._popen.stdin is not None:
            self._popen.stdin.close()

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit code, or None when the program still runs after `seconds`."""
        if self._popen is None:
            return None
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, *, seconds: float = 20) -> None:
        """Ask to end, then kill what is left after `seconds`. Idempotent."""
        if tree := self._tree():
            guard.stop(tree, self.stop_signal, seconds=seconds)
        self._reap()

    def kill(self) -> None:
        """SIGKILL to the whole tree at once. Idempotent."""
        self.pause()  # nothing forks while the tree is read
        guard.kill(self._tree())
        self._reap()

    def pause(self) -> None:
        for process in self._tree():
            guard.send(process, signal.SIGSTOP)

    def resume(self) -> None:
        for process in reversed(self._tree()):
            guard.send(process, signal.SIGCONT)

    def _tree(self) -> list[psutil.Process]:
        return guard.tree(self.pid) if self.pid is not None else []

    def _reap(self) -> None:
        if self._popen is not None:
            self._popen.wait()
            guard.forget(self._popen.pid)

    def last_words(self) -> str:
        if self.log is None or not self.log.is_file():
            return ""
        lines = self.log.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f" ({self.log}: {last[:200]})"
