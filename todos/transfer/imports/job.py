"""What an import leaves behind, so that it can go on where it ended: a plan for each kind of source."""

import fcntl
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from todos.transfer.imports.check import Rejected
from todos.transfer.imports.state import InvalidState, Progress, RejectsFile


@dataclass
class Job:
    """Where it stands, and the files that keep it: None keeps nothing. `next_time` tells how to go on."""

    progress: Progress
    rejects: RejectsFile | None = None
    progress_path: Path | None = None
    next_time: str = ""

    def reject(self, rejected: Rejected) -> None:
        if self.rejects:
            self.rejects.add(rejected)

    def save(self, progress: Progress) -> None:
        if self.progress_path:
            progress.save(self.progress_path)


def dry_run() -> Job:
    return Job(Progress(sha256=""))


def of_stream(rejects: Path) -> Job:
    """Its todos get new ids each time. Raises InvalidState."""
    again = "; send only those behind them"
    return Job(Progress(sha256=uuid4().hex), _new_rejects(rejects), next_time=again)


def of_file(source: BinaryIO, file: Path, rejects: Path, progress_path: Path, *, restart: bool) -> Job:
    """Goes on with the import of the same content that `progress_path` tells of. Raises InvalidState, or OSError."""
    if any(other.resolve() == file.resolve() for other in (rejects, progress_path)):
        raise InvalidState(f"{file} is what is to be imported, and would be overwritten")
    _lock(source)
    sha256 = _sha256(source)
    progress = None if restart else Progress.load(progress_path)
    if progress and progress.sha256 != sha256:
        raise InvalidState(
            f"its content is not that of which {progress_path} tells. To repair rejected lines, edit {rejects} and"
            " import that; --restart imports all lines, as new todos where they have no id"
        )
    kept = RejectsFile(rejects) if progress else _new_rejects(rejects)
    again = "; the same command goes on behind them"
    return Job(progress or Progress(sha256=sha256), kept, progress_path, again)


def _lock(source: BinaryIO) -> None:
    """Until it is closed. Two imports would do no harm in Kafka, but write their rejects twice."""
    try:
        fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InvalidState("another process is importing it") from None
    except OSError:  # a file system without locks
        pass


def _sha256(source: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := source.read(1 << 20):
        digest.update(block)
    source.seek(0)
    return digest.hexdigest()


def _new_rejects(path: Path) -> RejectsFile:
    """What an operator may be repairing is not overwritten."""
    if path.exists():
        raise InvalidState(f"{path} is there: import it, move it away, or name another with --rejects")
    return RejectsFile(path)
