"""What an import leaves beside its file: how far it came, and the lines that it could not take."""

import json
from functools import cached_property
from pathlib import Path
from typing import Self
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import BaseModel, ConfigDict, ValidationError

from todos.transfer.imports.check import Rejected
from todos.transfer.imports.physical import Place


class InvalidState(ValueError):
    """A file that an import left has become something else; the message says which."""


class Progress(BaseModel):
    """Of the lines before `place`, every one is in Kafka or among the rejects."""

    model_config = ConfigDict(extra="forbid")

    sha256: str
    place: Place = Place()
    accepted: int = 0
    rejected: int = 0
    were_done: int = 0  # accepted, and is_done where they come from, which no event can say
    finished: bool = False

    @cached_property
    def namespace(self) -> UUID:
        """Of the ids of lines that have none: the same for the same content, whatever the file is called."""
        return uuid5(NAMESPACE_URL, f"import:{self.sha256}")

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Raises InvalidState, or OSError."""
        if not path.exists():
            return None
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError:
            raise InvalidState(f"{path} is not what import_todos writes there; move it away") from None

    def save(self, path: Path) -> None:
        """All of it or nothing, whenever the process dies."""
        new = path.with_name(f"{path.name}.new")
        new.write_text(self.model_dump_json(indent=2) + "\n")
        new.replace(path)


class RejectsFile:
    """JSON Lines, to be edited and imported again: each todo as it was understood, and why it was rejected.

    A line is written once, also when the import dies and goes on. The file is made for the first one.
    """

    def __init__(self, path: Path) -> None:
        """Raises InvalidState, or OSError."""
        self.path = path
        self._last = self._last_number() if path.exists() else 0

    def add(self, rejected: Rejected) -> None:
        if rejected.number <= self._last:
            return
        why = {"line": rejected.number, "errors": rejected.errors, "original": rejected.original}
        text = json.dumps(rejected.todo | {"rejected": why}, ensure_ascii=False)
        with self.path.open("ab") as file:
            file.write(text.encode(errors="backslashreplace") + b"\n")  # a lone surrogate becomes JSON's own escape
        self._last = rejected.number

    def _last_number(self) -> int:
        """Takes away the half line that a killed import left."""
        last, size = b"", 0
        with self.path.open("rb+") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    file.truncate(size)
                    break
                last, size = line, size + len(line)
        try:
            return int(json.loads(last)["rejected"]["line"]) if last else 0
        except (ValueError, KeyError, TypeError):
            raise InvalidState(f"{self.path}: its last line is not by import_todos; move the file away") from None
