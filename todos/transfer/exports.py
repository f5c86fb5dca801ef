"""Todos as CSV or JSON Lines, one string for each line, for the command and the admin. import_todos reads both.

JSON Lines holds every character as it is. In CSV, formulas are escaped: see todos.transfer.csv_safety.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from todos.models import Todo
from todos.transfer.csv_safety import escape_formulas

CHUNK_ROWS = 2_000


class Row(NamedTuple):
    """The exported columns of a todo, in the order of the file."""

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
    """Yield the rows of `todos` in constant memory, through a server-side cursor.

    Outside a transaction PostgreSQL materializes the result first. So the rows are those of one moment, and a slow
    reader neither delays VACUUM nor runs into a statement time-out.
    """
    return map(Row._make, todos.values_list(*COLUMNS).iterator(chunk_size=CHUNK_ROWS))


def csv_lines(todos: Iterable[Row]) -> Iterator[str]:
    """Yield a heading and one record for each row, as RFC 4180 has them: lines end with CR LF."""
    writer = csv.writer(_ReturningFile())
    yield writer.writerow(COLUMNS)
    for row in todos:
        cells = row._replace(
            title=escape_formulas(row.title),
            description=escape_formulas(row.description),
            owner=escape_formulas(row.owner),
        )
        yield writer.writerow(map(_text, cells))


def json_lines(todos: Iterable[Row]) -> Iterator[str]:
    """Yield one JSON object for each row."""
    for row in todos:
        values = {name: value if isinstance(value, bool) else _text(value) for name, value in row._asdict().items()}
        yield json.dumps(values, ensure_ascii=False) + "\n"


FORMATS: dict[str, Callable[[Iterable[Row]], Iterator[str]]] = {"csv": csv_lines, "jsonl": json_lines}


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


class _ReturningFile:
    """A file for csv.writer: writerow() returns what write() returns, the line."""

    def write(self, line: str) -> str:
        return line
