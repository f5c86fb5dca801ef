"""Ends what this Python process started when it dies without the chance to do so itself, even by SIGKILL.

PR_SET_PDEATHSIG would not do: it is bound to the thread that started the child, and cleared by a change of user.
Instead a small watcher reads a pipe whose other end closes with its parent, then stops the newest tree first.
"""

import atexit
import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, cast

import psutil

STOP_SECONDS = 10.0
LEFTOVER_SECONDS = 1.0


@dataclass
class _Watcher:
    popen: subprocess.Popen[bytes]
    lock: threading.Lock

    @property
    def pipe(self) -> IO[bytes]:
        return cast("IO[bytes]", self.popen.stdin)

    def tell(self, line: str) -> None:
        with self.lock, contextlib.suppress(BrokenPipeError):
            self.pipe.write(f"{line}\n".encode())
            self.pipe.flush()

    def dismiss(self) -> None:
        """At a regular exit too it ends what was left running."""
        self.pipe.close()
        self.popen.wait()


_watcher: _Watcher | None = None
_creation = threading.Lock()


def start(*, keep_open: Sequence[int] = ()) -> None:
    """Start the watcher, unless it runs. It holds the given file descriptors open until all is ended."""
    global _watcher  # noqa: PLW0603 - one watcher a process
    with _creation:
        if _watcher is None:
            popen = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, "-P", __file__], stdin=subprocess.PIPE, start_new_session=True, pass_fds=keep_open
            )
            _watcher = _Watcher(popen, threading.Lock())
            atexit.register(_watcher.dismiss)


def watch(pid: int, stop_signal: signal.Signals) -> None:
    """End this child and its tree should the calling process die."""
    start()
    if _watcher is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            _watcher.tell(f"watch {pid} {psutil.Process(pid).create_time()} {int(stop_signal)}")


def forget(pid: int) -> None:
    if _watcher is not None:
        _watcher.tell(f"forget {pid}")


def tree(pid: int) -> list[psutil.Process]:
    """The process and its descendants, parents first."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def send(process: psutil.Process, signum: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signum)


def stop(processes: list[psutil.Process], stop_signal: signal.Signals, *, seconds: float) -> None:
    """Ask the first, wait up to `seconds` for it, then kill what is left of it and its descendants."""
    for process in processes:
        send(process, signal.SIGCONT)  # a stopped process never sees the request
    send(processes[0], stop_signal)
    _gone_within(processes[:1], seconds)
    if not _gone_within(processes, LEFTOVER_SECONDS):
        kill(processes)


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        send(process, signal.SIGKILL)
    _gone_within(processes, STOP_SECONDS)


def _gone_within(processes: list[psutil.Process], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(_runs(process) for process in processes):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    watched: dict[int, tuple[float, signal.Signals]] = {}
    for line in sys.stdin:
        action, pid, *rest = line.split()
        if action == "watch":
            watched[int(pid)] = float(rest[0]), signal.Signals(int(rest[1]))
        else:
            watched.pop(int(pid), None)
    for pid, (created, stop_signal) in reversed(watched.items()):
        processes = tree(pid)
        if processes and processes[0].create_time() == created:  # else the pid belongs to another process now
            stop(processes, stop_signal, seconds=STOP_SECONDS)


if __name__ == "__main__":
    main()
