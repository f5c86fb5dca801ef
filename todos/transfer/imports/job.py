"""The state of an import: how far it has come, which lines it rejected, and where the next run continues.

dry run                             starts at the first line, keeps nothing
standard input                      starts at the first line, keeps its rejects
file without progress, or restart   starts at the first line, keeps progress and rejects beside the file
file with progress, same content    continues after the last settled line; if finished, there is nothing to do
file with progress, other content   refused with InvalidState
"""

import fcntl
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Self
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from pydantic import BaseModel, ConfigDict, ValidationError

from todos.transfer.imports.lines import RejectedLine
from todos.transfer.imports.physical import FilePosition


class InvalidState(ValueError):
    """Raised when an import cannot start or continue with the files of an earlier one; the message says why."""


class Progress(BaseModel):
    """How far an import has come: every line before `place` is in Kafka or among the rejects.

    The field names are those of the progress file, which a later version must still read.
    """

    model_config = ConfigDict(extra="forbid")

    sha256: str
    place: FilePosition = FilePosition()
    accepted: int = 0
    rejected: int = 0
    were_done: int = 0  # accepted lines with is_done, which an event cannot hold
    finished: bool = False

    @cached_property
    def namespace(self) -> UUID:
        """The namespace for ids of lines that have none: the same for the same content under any file name."""
        return uuid5(NAMESPACE_URL, f"import:{self.sha256}")

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Return the saved progress, or None without a file. Raises InvalidState or OSError."""
        if not path.exists():
            return None
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError:
            raise InvalidState(f"{path} is not a progress file of import_todos; move it to another place") from None

    def save(self, path: Path) -> None:
        """Replace the file atomically, so that a killed import leaves the old progress or the new one."""
        new = path.with_name(f"{path.name}.new")
        new.write_text(self.model_dump_json(indent=2) + "\n")
        new.replace(path)


class RejectsFile:
    """JSON Lines of rejected todos with their errors, to be edited and imported.

    The file is created with the first rejected line. An import that resumes does not write a line twice.
    """

    def __init__(self, path: Path) -> None:
        """Continue an existing file. Raises InvalidState or OSError."""
        self.path = path
        self._last_number = _repaired(path) if path.exists() else 0

    def add(self, rejected: RejectedLine) -> None:
        """Append the line, unless an earlier run already did. Raises OSError."""
        if rejected.number <= self._last_number:
            return
        reason = {"line": rejected.number, "errors": rejected.errors, "original": rejected.original}
        text = json.dumps(rejected.todo | {"rejected": reason}, ensure_ascii=False)
        with self.path.open("ab") as file:
            file.write(text.encode(errors="backslashreplace") + b"\n")  # a lone surrogate becomes JSON's own escape
        self._last_number = rejected.number


def _repaired(path: Path) -> int:
    """Remove the incomplete line that a killed import left, and return the number of the last rejected line."""
    last, size = b"", 0
    with path.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                file.truncate(size)
                break
            last, size = line, size + len(line)
    try:
        return int(json.loads(last)["rejected"]["line"]) if last else 0
    except (ValueError, KeyError, TypeError):
        raise InvalidState(f"{path}: the last line is not of import_todos; move the file to another place") from None


@dataclass(frozen=True)
class Job:
    """An import with the files that keep its state; None keeps nothing.

    `resume_hint` completes the sentence "12 lines are done" for the operator whose import was interrupted.
    """

    progress: Progress
    rejects: RejectsFile | None = None
    progress_path: Path | None = None
    resume_hint: str = ""

    def reject(self, rejected: RejectedLine) -> None:
        """Keep a rejected line. Raises OSError."""
        if self.rejects:
            self.rejects.add(rejected)

    def save(self, progress: Progress) -> None:
        """Keep the progress. Raises OSError."""
        if self.progress_path:
            progress.save(self.progress_path)


def dry_run() -> Job:
    """Return a job that keeps nothing."""
    return Job(Progress(sha256=""))


def of_stream(rejects: Path) -> Job:
    """Return a job for a source that cannot be read again: its todos get new ids in each run. Raises InvalidState."""
    return Job(Progress(sha256=uuid4().hex), _new_rejects(rejects), resume_hint="; send only the lines after them")


def of_file(source: BinaryIO, file: Path, rejects: Path, progress_path: Path, *, restart: bool) -> Job:
    """Return the job for an open file, and lock the file against other imports.

    Without `restart` the job continues where an import of the same content stopped. Raises InvalidState or OSError.
    """
    if any(other.resolve() == file.resolve() for other in (rejects, progress_path)):
        raise InvalidState(f"{file} is the file to import, and would be overwritten")
    _lock(source)
    sha256 = _sha256(source)
    saved = None if restart else Progress.load(progress_path)
    if saved and saved.sha256 != sha256:
        raise InvalidState(
            f"its content differs from the import that {progress_path} describes. To fix rejected lines, edit"
            f" {rejects} and import that; --restart imports all lines, as new todos where they have no id"
        )
    return Job(
        saved or Progress(sha256=sha256),
        RejectsFile(rejects) if saved else _new_rejects(rejects),
        progress_path,
        resume_hint="; the same command continues after them",
    )


def _lock(source: BinaryIO) -> None:
    """Lock the file until it is closed: two imports would harm nothing in Kafka, but write each reject twice."""
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
    if path.exists():  # an operator may be editing it
        raise InvalidState(f"{path} exists: import it, move it to another place, or name another with --rejects")
    return RejectsFile(path)
