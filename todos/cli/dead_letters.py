"""How the command dead_letters prints dead letters: as a table, as lines, as text, and for JSON."""

import base64
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from todos.dead_letters.rendering import printable, printable_headers
from todos.dead_letters.service import payload_of
from todos.ingest.parsing import headers_of
from todos.models import DeadLetter

COLUMNS = ("id", "position", "status", "reason", "replays", "created_at", "detail")


def summary(letter: DeadLetter) -> dict[str, Any]:
    """Return what fits into a line, for JSON."""
    return {
        "id": letter.pk,
        "position": str(letter),
        "status": letter.status,
        "reason": letter.reason,
        "replays": letter.replays,
        "created_at": letter.created_at.isoformat(timespec="seconds"),
        "detail": letter.detail,
        "todo_id": str(letter.todo_id) if letter.todo_id else None,
        "changed_by": letter.changed_by or None,
        "changed_at": letter.changed_at.isoformat(timespec="seconds") if letter.changed_at else None,
    }


def details(letter: DeadLetter) -> dict[str, Any]:
    """Return everything, for JSON; bytes in base64."""
    return summary(letter) | {
        "key": _base64(letter.key),
        "value": _base64(letter.value),
        "edited_value": _base64(letter.edited_value),
        "headers": [[name, _base64(value)] for name, value in headers_of(letter)],
        "timestamp_ms": letter.timestamp_ms,
        "events": [
            {"at": event.at.isoformat(timespec="seconds"), "actor": event.actor, "action": event.action}
            | {"note": event.note}
            for event in letter.events.all()
        ],
    }


def as_table(letters: Iterable[DeadLetter]) -> str:
    """Format for a person, as wide as the terminal."""
    table = Table()
    for name in (*COLUMNS[:-2], COLUMNS[-1]):
        table.add_column(name, no_wrap=name != "detail")
    for letter in letters:
        *cells, _, detail = _cells(letter)  # without the time: 80 columns hold no more
        table.add_row(*map(Text, [*cells, detail]))  # Text: a client's bytes must not be read as markup
    console = Console()
    with console.capture() as text:
        console.print(table)
    return text.get()


def as_lines(letters: Iterable[DeadLetter]) -> Iterable[str]:
    """Format for a script: a heading, then one line each, with cells separated by tabs."""
    yield "\t".join(COLUMNS)
    for letter in letters:
        yield "\t".join(_cells(letter))


def as_text(letter: DeadLetter) -> str:
    """Format everything about one dead letter for a person."""
    fields = summary(letter) | {
        "key": printable(letter.key),
        "headers": printable_headers(headers_of(letter)),
        "value": printable(letter.value, limit=len(letter.value or b"")),
    }
    if letter.edited_value is not None:
        fields["edited"] = printable(payload := payload_of(letter), limit=len(payload))
    lines = [f"{name + ':':12} {_indented('-' if value is None else str(value))}" for name, value in fields.items()]
    lines += [
        f"{event.at:%Y-%m-%d %H:%M:%S}  {event} {printable(event.note.encode())}" for event in letter.events.all()
    ]
    return "\n".join(lines)


def _cells(letter: DeadLetter) -> list[str]:
    fields = summary(letter)
    return [printable(str(fields[name]).encode()).replace("\n", " ") for name in COLUMNS]


def _indented(text: str) -> str:
    return text.replace("\n", "\n" + " " * 13)


def _base64(data: bytes | memoryview | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
