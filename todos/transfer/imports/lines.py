"""Read a file line by line: each line is the event of a todo, or is rejected with its errors.

`read_lines` parses CSV or JSON Lines into fields; `check_line` checks the fields against the contract.
"""

import csv
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID, uuid5

from edge_api.contract import InvalidPayload, TodoCreated, parse_json
from todos.transfer.csv_safety import unescape_formulas
from todos.transfer.imports.physical import MAX_LINE_BYTES, FilePosition, PhysicalLine, PhysicalLines

COLUMNS = ("title", "description", "owner", "id", "created_at")
# What export_todos writes but an event cannot hold; what a file of rejects adds.
IGNORED = ("is_done", "stored_at", "updated_at", "rejected")
KNOWN = {*COLUMNS, *IGNORED}
TEXTS = ("title", "description")  # an empty cell is an empty text; elsewhere it means no value
UNKNOWN = f"unknown; known are {', '.join(COLUMNS)}"
LINE = "line"  # names the whole line where a field is named
TOO_LONG = f"longer than {MAX_LINE_BYTES:,} bytes"
NOT_UTF8 = "must be UTF-8"
NESTED = "must be neither an array nor an object"


class UnusableFile(ValueError):
    """Raised when no line of the file can be imported; the message says why."""


class Line(NamedTuple):
    """One record of the file, which may span several physical lines. `errors` names what cannot be read."""

    number: int
    end: FilePosition
    original: str
    fields: dict[str, Any]
    errors: dict[str, str]


class RejectedLine(NamedTuple):
    """A line that cannot become a todo, and why.

    `todo` can be edited and imported. It has the line's id, so it stays one todo however often it is imported.
    """

    number: int
    errors: dict[str, str]
    original: str
    todo: dict[str, object]


def read_lines(file: BinaryIO, file_format: str, *, ignore_unknown: bool, start: FilePosition) -> Iterator[Line]:
    """Yield the lines from `start` on, without the blank ones. Raises UnusableFile before the first of them."""
    return FORMATS[file_format](PhysicalLines(file), start, ignore_unknown)


def check_line(line: Line, namespace: UUID) -> TodoCreated | RejectedLine:
    """Return the line's event with its id, or the errors of its fields.

    A line without an id gets one from `namespace` and its number, so the id is the same in every run.
    """
    todo = line.fields
    if todo.get("id") is None:
        todo = todo | {"id": str(uuid5(namespace, str(line.number)))}
    event, errors = _parse(todo) if LINE not in line.errors else (None, {})
    errors |= line.errors
    if event and not errors:
        return event
    return RejectedLine(line.number, errors, line.original, {"title": ""} | todo)


def _parse(todo: dict[str, Any]) -> tuple[TodoCreated | None, dict[str, str]]:
    fields = {name: todo[name] for name in COLUMNS if name in todo}
    if fields.get("owner") == "":  # how an export writes a todo without an owner
        del fields["owner"]
    try:
        return parse_json(TodoCreated, json.dumps(fields).encode()), {}
    except InvalidPayload as exc:
        return None, dict(exc.errors)


# --- JSON Lines


def _read_jsonl(lines: PhysicalLines, start: FilePosition, ignore_unknown: bool) -> Iterator[Line]:
    if start.bytes:
        lines.seek(start)
    return _jsonl(lines, ignore_unknown)


def _jsonl(lines: PhysicalLines, ignore_unknown: bool) -> Iterator[Line]:
    while (physical := lines.take()) is not None:
        if not physical.data.strip():
            continue
        values, errors = _object(physical)
        # Nested values stay in `original` only: they may be too deep for the code that handles `fields`.
        fields = {name: value for name, value in values.items() if not isinstance(value, dict | list)}
        errors |= dict.fromkeys((name for name in COLUMNS if name in values.keys() - fields.keys()), NESTED)
        if not ignore_unknown:
            errors |= dict.fromkeys(values.keys() - KNOWN, UNKNOWN)
        yield Line(lines.position.lines, lines.position, physical.text, fields, errors)


def _object(physical: PhysicalLine) -> tuple[dict[str, Any], dict[str, str]]:
    if physical.too_long:
        return {}, {LINE: TOO_LONG}
    try:
        fields = json.loads(physical.data.decode())
    except UnicodeDecodeError:
        return {}, {LINE: NOT_UTF8}
    except (ValueError, RecursionError):
        return {}, {LINE: "must be valid JSON"}
    return (fields, {}) if isinstance(fields, dict) else ({}, {LINE: "must be a JSON object"})


# --- CSV


def _read_csv(lines: PhysicalLines, start: FilePosition, ignore_unknown: bool) -> Iterator[Line]:
    columns = _heading(lines, ignore_unknown)
    if start.bytes:
        lines.seek(start)
    return _csv(lines, columns)


def _heading(lines: PhysicalLines, ignore_unknown: bool) -> list[str]:
    taken, cells = _record(lines)
    if not taken:
        raise UnusableFile("is empty; the first line must name the columns")
    if isinstance(cells, str):
        raise UnusableFile(f"line 1: {cells}")
    if not _is_utf8("".join(cells)):
        raise UnusableFile(f"line 1: {NOT_UTF8}")
    columns = [cell.strip() for cell in cells]
    if "title" not in columns:
        raise UnusableFile(f"line 1 has no column title, only {', '.join(map(repr, columns))}")
    for name in columns:
        if columns.count(name) > 1:
            raise UnusableFile(f"line 1 names the column {name!r} twice")
        if not ignore_unknown and name not in KNOWN:
            raise UnusableFile(f"column {name!r}: {UNKNOWN}; --ignore-unknown leaves it out")
    return columns


def _csv(lines: PhysicalLines, columns: list[str]) -> Iterator[Line]:
    while True:
        lines_before = lines.position.lines
        taken, cells = _record(lines)
        if not taken:
            return
        if not cells:
            continue
        original = "".join(physical.text for physical in taken)
        yield Line(lines_before + 1, lines.position, original, *_named(columns, cells))


def _named(columns: list[str], cells: list[str] | str) -> tuple[dict[str, Any], dict[str, str]]:
    if isinstance(cells, str):
        return {}, {LINE: cells}
    if len(cells) != len(columns):
        return {}, {LINE: f"has {len(cells)} cells, but the heading has {len(columns)}"}
    named = {name: unescape_formulas(cell) for name, cell in zip(columns, cells, strict=True) if name in KNOWN}
    fields = {name: cell if name in TEXTS else cell or None for name, cell in named.items()}
    return fields, {name: NOT_UTF8 for name in COLUMNS if not _is_utf8(named.get(name, ""))}


def _record(lines: PhysicalLines) -> tuple[list[PhysicalLine], list[str] | str]:
    """Take the lines of one record, and return them with their cells or with the error.

    After an error only one line is taken: an unclosed quote costs its own line and not the rest of the file.
    """
    taken: list[PhysicalLine] = []
    try:
        cells = next(csv.reader(_feed(lines, taken), strict=True), [])
    except csv.Error as exc:
        in_quotes = len(taken) > 1 or str(exc) == "unexpected end of data"
        lines.give_back(taken[1:])
        return taken[:1], "a quote is opened and not closed" if in_quotes else f"is not CSV: {exc}"
    if taken and taken[0].too_long:
        return taken, TOO_LONG
    if sum(physical.data.count(b'"') for physical in taken) % 2:
        return (
            taken,
            "a quote is inside a cell without quotes; put the cell into quotes and write the inner quote twice",
        )
    return taken, cells


def _feed(lines: PhysicalLines, taken: list[PhysicalLine]) -> Iterator[str]:
    """Yield lines to the CSV reader until their size exceeds that of any record, and collect them in `taken`."""
    size = 0
    while size <= MAX_LINE_BYTES and (physical := lines.take()) is not None:
        taken.append(physical)
        size += physical.size
        if physical.too_long:
            return
        yield physical.text


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


FORMATS: dict[str, Callable[[PhysicalLines, FilePosition, bool], Iterator[Line]]] = {
    "csv": _read_csv,
    "jsonl": _read_jsonl,
}
