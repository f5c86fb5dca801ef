"""What each line of a file says about a todo, or why it cannot be read. What it may say is the contract's business."""

import csv
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from todos.transfer.csv_safety import restored
from todos.transfer.imports.physical import MAX_LINE_BYTES, PhysicalLine, PhysicalLines, Place

COLUMNS = ("title", "description", "owner", "id", "created_at")
# What export_todos writes and no event can say; what a file of rejects adds.
LEFT_OUT = ("is_done", "stored_at", "updated_at", "rejected")
KNOWN = {*COLUMNS, *LEFT_OUT}
TEXTS = ("title", "description")  # where an empty cell is an empty text
UNKNOWN = f"unknown; known are {', '.join(COLUMNS)}"
LINE = "line"  # the field at fault when it is the whole line
TOO_LONG = f"longer than {MAX_LINE_BYTES:,} bytes"
NOT_UTF8 = "must be UTF-8"
NESTED = "must be neither an array nor an object"


class UnusableFile(ValueError):
    """No line of it can be imported; the message says why."""


class Line(NamedTuple):
    """One todo of the file, also when it has a quoted text of several lines. `errors` names what cannot be read."""

    number: int
    end: Place
    original: str
    fields: dict[str, Any]
    errors: dict[str, str]


def read_lines(file: BinaryIO, file_format: str, *, ignore_unknown: bool, start: Place) -> Iterator[Line]:
    """From `start` on. Blank lines are passed over. Raises UnusableFile, at once."""
    return FORMATS[file_format](PhysicalLines(file), start, ignore_unknown)


def _read_jsonl(lines: PhysicalLines, start: Place, ignore_unknown: bool) -> Iterator[Line]:
    if start.bytes:
        lines.seek(start)
    return _jsonl(lines, ignore_unknown)


def _jsonl(lines: PhysicalLines, ignore_unknown: bool) -> Iterator[Line]:
    while (physical := lines.take()) is not None:
        if not physical.data.strip():
            continue
        found, errors = _object(physical)
        # Nested values are in `original` only: as deep as they may be, nothing has to follow them.
        fields = {name: value for name, value in found.items() if not isinstance(value, dict | list)}
        errors |= dict.fromkeys((name for name in COLUMNS if name in found.keys() - fields.keys()), NESTED)
        if not ignore_unknown:
            errors |= dict.fromkeys(found.keys() - KNOWN, UNKNOWN)
        yield Line(lines.place.lines, lines.place, physical.text, fields, errors)


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


def _read_csv(lines: PhysicalLines, start: Place, ignore_unknown: bool) -> Iterator[Line]:
    columns = _heading(lines, ignore_unknown)
    if start.bytes:
        lines.seek(start)
    return _csv(lines, columns)


def _heading(lines: PhysicalLines, ignore_unknown: bool) -> list[str]:
    taken, cells = _record(lines)
    if not taken:
        raise UnusableFile("is empty; the first line names the columns")
    if isinstance(cells, str):
        raise UnusableFile(f"line 1: {cells}")
    if not _is_utf8("".join(cells)):
        raise UnusableFile(f"line 1: {NOT_UTF8}")
    columns = [cell.strip() for cell in cells]
    if "title" not in columns:
        raise UnusableFile(f"line 1 names no column title, but {', '.join(map(repr, columns))}")
    for name in columns:
        if columns.count(name) > 1:
            raise UnusableFile(f"line 1 names the column {name!r} twice")
        if not ignore_unknown and name not in KNOWN:
            raise UnusableFile(f"column {name!r}: {UNKNOWN}; --ignore-unknown leaves it out")
    return columns


def _csv(lines: PhysicalLines, columns: list[str]) -> Iterator[Line]:
    while True:
        before = lines.place.lines
        taken, cells = _record(lines)
        if not taken:
            return
        if not cells:
            continue
        original = "".join(physical.text for physical in taken)
        yield Line(before + 1, lines.place, original, *_named(columns, cells))


def _named(columns: list[str], cells: list[str] | str) -> tuple[dict[str, Any], dict[str, str]]:
    if isinstance(cells, str):
        return {}, {LINE: cells}
    if len(cells) != len(columns):
        return {}, {LINE: f"has {len(cells)} cells, the heading {len(columns)}"}
    named = {name: cell for name, cell in zip(columns, cells, strict=True) if name in KNOWN}
    fields = {name: restored(cell) if name in TEXTS else restored(cell) or None for name, cell in named.items()}
    return fields, {name: NOT_UTF8 for name in COLUMNS if not _is_utf8(named.get(name, ""))}


def _record(lines: PhysicalLines) -> tuple[list[PhysicalLine], list[str] | str]:
    """The lines that it took, and their cells; or why they are none, then it took one line only.

    So a quote that is never closed costs its own line, not the rest of the file.
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
        return taken, "a quote stands inside a cell; put the cell into quotes and write the inner quote twice"
    return taken, cells


def _feed(lines: PhysicalLines, taken: list[PhysicalLine]) -> Iterator[str]:
    """As many lines as the record has, but not more than could be one."""
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


FORMATS: dict[str, Callable[[PhysicalLines, Place, bool], Iterator[Line]]] = {"csv": _read_csv, "jsonl": _read_jsonl}
