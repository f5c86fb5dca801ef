"""Todos as CSV or JSON Lines, one string for each line, for the command and the admin. import_todos reads both.

JSON Lines holds every character as it is. CSV is made for spreadsheets too: see todos.transfer.csv_safety.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from todos.models import Todo
from todos.transfer.csv_safety import harmless

CHUNK_ROWS = 2_000


class Row(NamedTuple):
    """The columns, in their order."""

    id: UUID
    title: str
    description: str
    owner: str
    is_done: bool
    created_at: datetime
    stored_at: datetime
    updated_at: datetime


COLUMNS = Row._fields


def rows(todos: QuerySet[Todo]) -> Iterator[Row]:
    """In constant memory, through a cursor on the server.

    Outside a transaction PostgreSQL keeps the result in a file of its own first: one moment's todos, and a slow
    reader holds up neither VACUUM nor a time-out.
    """
    return map(Row._make, todos.values_list(*COLUMNS).iterator(chunk_size=CHUNK_ROWS))


def csv_lines(found: Iterable[Row]) -> Iterator[str]:
    """With a heading. RFC 4180, so lines end with CR LF."""
    writer = csv.writer(_Returning())
    yield writer.writerow(COLUMNS)
    for row in found:
        cells = row._replace(
            title=harmless(row.title), description=harmless(row.description), owner=harmless(row.owner)
        )
        yield writer.writerow(map(_text, cells))


def json_lines(found: Iterable[Row]) -> Iterator[str]:
    for row in found:
        values = {name: value if isinstance(value, bool) else _text(value) for name, value in row._asdict().items()}
        yield json.dumps(values, ensure_ascii=False) + "\n"


FORMATS: dict[str, Callable[[Iterable[Row]], Iterator[str]]] = {"csv": csv_lines, "jsonl": json_lines}


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Returning:
    """A file for csv.writer, whose writerow() returns what write() does."""

    def write(self, line: str) -> str:
        return line
