import io
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseFailure
from django.db.models import QuerySet
from rich.console import Console
from rich.progress import track

from todos.cli.arguments import add_examples, add_format, format_of, moment
from todos.cli.pipes import ends_with_its_reader
from todos.models import Todo
from todos.transfer.exports import FORMATS, Row, rows

LINES_PER_WRITE = 500
IMPOSSIBLE = 2
EXAMPLES = """
examples:
  manage.py export_todos > todos.csv
  manage.py export_todos --open --since 7d --output open.csv
  manage.py export_todos --since 2026-01-01 --until 2026-02-01 --output january.jsonl
  manage.py export_todos --format jsonl | gzip > todos.jsonl.gz

The todos of one moment, the oldest first, in UTF-8. import_todos reads both formats, and stores nothing twice.

A title like =1+1 would be a formula in a spreadsheet. So CSV has an apostrophe in front of every title and
description that begins with = + - @, a tab or an end of line, or with apostrophes and one of these. import_todos
takes it away again; other programs do better with JSON Lines, which hold every character as it is.

exit code: 0 all written, 2 wrong usage, or the database is away: then FILE is not there, or what it was before
"""


class Command(BaseCommand):
    help = "Write todos as CSV or JSON Lines."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        add_format(parser, "as FILE's name ends, or csv")
        parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
        state = parser.add_mutually_exclusive_group()
        state.add_argument("--done", action="store_true", dest="is_done", default=None, help="only what is done")
        state.add_argument("--open", action="store_false", dest="is_done", default=None, help="only what is not")
        when = "an ISO date or time (UTC), or 30m, 2h, 7d ago"
        parser.add_argument("--since", type=moment, metavar="WHEN", help=f"created then or later: {when}")
        parser.add_argument("--until", type=moment, metavar="WHEN", help="created before that")

    def handle(self, *args: Any, output: Path | None, **options: Any) -> None:
        name = format_of(output or Path("stdout.csv"), options["format"])
        found = self._counted(_selected(**options), with_bar=output is not None or not self.stdout.isatty())
        lines = FORMATS[name](found)
        try:
            if output:
                _write_file(lines, output)
                self.stdout.write(f"{self.exported:,} todos exported to {output}")
            else:
                self._write_out(lines)
        except DatabaseFailure as exc:
            raise CommandError(f"database: {str(exc).strip().splitlines()[0]}", returncode=IMPOSSIBLE) from exc
        except OSError as exc:
            raise CommandError(f"{exc.filename or output}: {exc.strerror}", returncode=IMPOSSIBLE) from exc

    def _counted(self, todos: QuerySet[Todo], *, with_bar: bool) -> Iterator[Row]:
        self.exported = 0
        console = Console(stderr=True)
        found: Iterable[Row] = rows(todos)
        if with_bar and console.is_terminal:
            total = todos.count()  # reads the index, so only for somebody who looks
            found = track(found, description="exporting", total=total, console=console, transient=True)
        for row in found:
            self.exported += 1
            yield row

    def _write_out(self, lines: Iterator[str]) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        with ends_with_its_reader():
            for text in _joined(lines):
                self.stdout.write(text, ending="")
            self.stdout.flush()


def _selected(*, is_done: bool | None, since: datetime | None, until: datetime | None, **_: Any) -> QuerySet[Todo]:
    wanted = {"is_done": is_done, "created_at__gte": since, "created_at__lt": until}
    found = Todo.objects.filter(**{name: value for name, value in wanted.items() if value is not None})
    return found.order_by("created_at", "id")


def _write_file(lines: Iterator[str], path: Path) -> None:
    """All of it or nothing."""
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("w", encoding="utf-8", newline="") as file:
            file.writelines(_joined(lines))
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _joined(lines: Iterator[str]) -> Iterator[str]:
    while some := "".join(islice(lines, LINES_PER_WRITE)):
        yield some
