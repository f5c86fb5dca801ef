import io
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure
from django.db.models import QuerySet
from rich.console import Console
from rich.progress import track

from todos.cli.arguments import add_examples, add_format, format_of, moment
from todos.cli.command import OperatorCommand
from todos.cli.output import database_error, exit_quietly_when_pipe_closes
from todos.models import Todo
from todos.transfer.exports import FORMATS, Row, rows

LINES_PER_WRITE = 500
FAILED = 2
EXAMPLES = """
examples:
  manage.py export_todos > todos.csv
  manage.py export_todos --open --since 7d --output open.csv
  manage.py export_todos --since 2026-01-01 --until 2026-02-01 --output january.jsonl
  manage.py export_todos --format jsonl | gzip > todos.jsonl.gz

Writes a consistent snapshot in UTF-8, the oldest todo first. import_todos reads both formats, and stores no todo twice.

A spreadsheet would read a title like =1+1 as a formula. In CSV, an apostrophe therefore precedes every title and
description that begins with = + - @, a tab or an end of line, or with apostrophes and one of these. import_todos
removes it. For other programs use JSON Lines, which holds every character unchanged.

exit code: 0 all written; 2 wrong usage, or the database does not answer: then FILE is unchanged, or still missing
"""


class Command(OperatorCommand):
    help = "Export todos as CSV or JSON Lines."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        add_format(parser, "as FILE's name ends, or csv")
        parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
        state = parser.add_mutually_exclusive_group()
        state.add_argument("--done", action="store_true", dest="is_done", default=None, help="only done todos")
        state.add_argument("--open", action="store_false", dest="is_done", default=None, help="only open todos")
        when = "an ISO date or time (UTC), or 30m, 2h, 7d ago"
        parser.add_argument("--since", type=moment, metavar="WHEN", help=f"created at this time or later: {when}")
        parser.add_argument("--until", type=moment, metavar="WHEN", help="created before this time")

    def handle(self, *args: Any, output: Path | None, **options: Any) -> None:
        file_format = format_of(output or Path("stdout.csv"), options["format"])
        todos = _selected(**options)
        console = Console(stderr=True)
        with_bar = console.is_terminal and (output is not None or not self.stdout.isatty())
        exported = _Counted(_with_bar(todos, console) if with_bar else rows(todos))
        lines = FORMATS[file_format](exported)
        try:
            if output:
                _write_file(lines, output)
                self.stdout.write(f"{exported.count:,} todos exported to {output}")
            else:
                self._write_out(lines)
        except DatabaseFailure as exc:
            raise database_error(exc, returncode=FAILED) from exc
        except OSError as exc:
            raise CommandError(f"{exc.filename or output}: {exc.strerror}", returncode=FAILED) from exc

    def _write_out(self, lines: Iterator[str]) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        with exit_quietly_when_pipe_closes():
            for chunk in _chunks(lines):
                self.stdout.write(chunk, ending="")
            self.stdout.flush()


class _Counted:
    """Iterates over rows and counts them."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.count = 0
        self._rows = rows

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            yield row


def _with_bar(todos: QuerySet[Todo], console: Console) -> Iterator[Row]:
    total = todos.count()  # reads the index, so only for a terminal
    yield from track(rows(todos), description="exporting", total=total, console=console, transient=True)


def _selected(*, is_done: bool | None, since: datetime | None, until: datetime | None, **_: Any) -> QuerySet[Todo]:
    filters = {"is_done": is_done, "created_at__gte": since, "created_at__lt": until}
    todos = Todo.objects.filter(**{name: value for name, value in filters.items() if value is not None})
    return todos.order_by("created_at", "id")


def _write_file(lines: Iterator[str], path: Path) -> None:
    """Write the whole file, or leave the old one unchanged."""
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("w", encoding="utf-8", newline="") as file:
            file.writelines(_chunks(lines))
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _chunks(lines: Iterator[str]) -> Iterator[str]:
    while chunk := "".join(islice(lines, LINES_PER_WRITE)):
        yield chunk
