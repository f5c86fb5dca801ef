"""One run a folder: a file that is locked for as long as anything of the run is left."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from devstack.process import ServiceError

LEFTOVER_SECONDS = 60


@contextmanager
def hold(path: Path) -> Iterator[int]:
    """Yields the locked file descriptor. Raises ServiceError when another run holds the lock."""
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(stat.S_IMODE(path.parent.stat().st_mode) & 0o700)  # tokens and data are its owner's alone
    with path.open("a+") as lock:
        _acquire(lock.fileno(), path)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock.fileno()


def is_held(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _acquire(lock: int, path: Path) -> None:
    """Wait until the remains of a killed run have ended, but not for a live run."""
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = path.read_text()
            if time.monotonic() > deadline or (holder and psutil.pid_exists(int(holder))):
                raise ServiceError(f"already running in this folder (process {holder})") from None
            time.sleep(0.1)
        else:
            return
