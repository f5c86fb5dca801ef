import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.core.management.base import CommandError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from todos.cli.arguments import add_examples, add_format, format_of, positive
from todos.cli.command import OperatorCommand
from todos.cli.kafka import kafka_error, open_log, quiet_kafka
from todos.dead_letters.rendering import printable
from todos.event_log import LogUnavailable
from todos.kafka.producer import KafkaBulkSender
from todos.transfer.imports import job as jobs
from todos.transfer.imports.job import InvalidState, Job, Progress
from todos.transfer.imports.lines import Line, RejectedLine, UnusableFile, read_lines
from todos.transfer.imports.run import Import, NullSender, PipelinedSender, paced

SOME_REJECTED, FAILED, INTERRUPTED = 1, 2, 130
SHOWN_REJECTS = 10
EXAMPLES = """
examples:
  manage.py import_todos todos.csv --dry-run
  manage.py import_todos todos.csv
  manage.py import_todos todos.csv.rejects.jsonl
  manage.py import_todos todos.jsonl --rate 500 --rejects bad.jsonl --ignore-unknown
  manage.py import_todos - --format csv --rejects bad.jsonl

CSV: UTF-8, with commas. The heading names the column title, and optionally description, owner, id and created_at.
Quoted texts may span lines. JSON Lines: one object per line, with the same names. A created_at needs its time zone:
2026-01-31T08:00:00Z. The command also reads what export_todos writes, without is_done: an event has no such field.
In CSV it removes one apostrophe in front of a formula ('=1+1), which export_todos adds.

Each todo keeps its id. A todo without one gets an id from the content of the whole file and its line number, so a file
is stored once, however often you import it, under any name. FILE.progress records how far an import came; after an
interruption, the same command continues there. Do not edit the file to repair rejected lines, since an edited file gets
other ids: edit FILE.rejects.jsonl and import that. An import from standard input cannot be continued, and todos without
an id get a new one each time.

exit code: 0 all accepted; 1 some lines rejected; 2 wrong usage, or Kafka is unavailable and the message says how to
continue; 130 interrupted
"""


class Command(OperatorCommand):
    help = (
        "Import todos from a file. The command sends them to Kafka, and the polls store them like all others."
        " Lines that cannot become a todo go into a file of rejects."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        parser.add_argument("file", help="CSV or JSON Lines, or - for standard input")
        add_format(parser, "as the file's name ends")
        parser.add_argument("--rejects", type=Path, metavar="FILE", help="default: FILE.rejects.jsonl")
        parser.add_argument("--progress", type=Path, metavar="FILE", help="default: FILE.progress")
        parser.add_argument("--restart", action="store_true", help="ignore FILE.progress and start with the first line")
        parser.add_argument("--ignore-unknown", action="store_true", help="ignore unknown columns")
        parser.add_argument("--rate", type=positive, metavar="N", help="at most N lines per second; default: no limit")
        parser.add_argument("--dry-run", action="store_true", help="check every line, but send and write nothing")

    def handle(self, *args: Any, file: str, rate: float | None, dry_run: bool, **options: Any) -> None:
        file_format = format_of(Path(file), options["format"])
        try:
            with _opened(file) as source:
                job = jobs.dry_run() if dry_run else _job(source, file, **options)
                start, ignore_unknown = job.progress.place, options["ignore_unknown"]
                lines = read_lines(source, file_format, ignore_unknown=ignore_unknown, start=start)
                if job.progress.finished:
                    self.stdout.write("imported before; --restart sends it again, and no todo is stored twice")
                else:
                    self._run(job, source, paced(lines, rate) if rate else lines, dry_run=dry_run)
        except (UnusableFile, InvalidState) as exc:
            raise CommandError(f"{file}: {exc}", returncode=FAILED) from exc
        except OSError as exc:
            raise CommandError(f"{exc.filename or file}: {exc.strerror or exc}", returncode=FAILED) from exc
        self._summarize(job)

    def _run(self, job: Job, source: BinaryIO, lines: Iterable[Line], *, dry_run: bool) -> None:
        if job.progress.place.lines:
            self.stderr.write(f"continuing after line {job.progress.place.lines:,}")
        first = _FirstRejects()
        try:
            with _sender(dry_run=dry_run) as sender, _progress_bar(_size(source)) as show:
                Import(job.progress, sender, [job.reject, first.add], [job.save, show]).run(lines)
        except LogUnavailable as exc:
            raise CommandError(f"{kafka_error(exc)}. {_how_far(job)}", returncode=FAILED) from exc
        except KeyboardInterrupt:
            raise CommandError(f"interrupted. {_how_far(job)}", returncode=INTERRUPTED) from None
        finally:
            for line in first.lines:
                self.stderr.write(line)

    def _summarize(self, job: Job) -> None:
        progress = job.progress
        self.stdout.write(_counts(progress))
        if progress.were_done:
            self.stdout.write(f"{progress.were_done:,} are done in the file; new todos are stored as open")
        if progress.rejected:
            advice = f": repair them in {job.rejects.path}, and import that" if job.rejects else ""
            raise CommandError(f"{progress.rejected:,} lines rejected{advice}", returncode=SOME_REJECTED)


def _opened(file: str) -> AbstractContextManager[BinaryIO]:
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    if Path(file).exists() and not Path(file).is_file():
        raise UnusableFile("is not a regular file; pass it to import_todos - on standard input")
    return Path(file).open("rb")


def _job(source: BinaryIO, file: str, *, rejects: Path | None, progress: Path | None, restart: bool, **_: Any) -> Job:
    if file != "-":
        rejects, progress = rejects or Path(f"{file}.rejects.jsonl"), progress or Path(f"{file}.progress")
        return jobs.of_file(source, Path(file), rejects, progress, restart=restart)
    if rejects is None or progress or restart:
        raise UnusableFile("standard input needs --rejects, and takes neither --progress nor --restart")
    return jobs.of_stream(rejects)


@contextmanager
def _sender(*, dry_run: bool) -> Iterator[PipelinedSender]:
    """Open a sender. Raises LogUnavailable before anything is sent, not only after the first time-out."""
    if dry_run:
        yield NullSender()
        return
    with open_log() as log:
        log.partitions()
    with quiet_kafka(), KafkaBulkSender(settings.KAFKA) as sender:
        yield sender


def _size(source: BinaryIO) -> int | None:
    return os.fstat(source.fileno()).st_size if source.seekable() else None


def _how_far(job: Job) -> str:
    return f"{job.progress.place.lines:,} lines are done{job.resume_hint}"


@contextmanager
def _progress_bar(total_bytes: int | None) -> Iterator[Callable[[Progress], None]]:
    """Show a bar on a terminal, without an end if the size is unknown. Yields the function that updates it."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    disable = not console.is_terminal  # a transient bar alone would print an empty line elsewhere
    with ProgressBar(*columns, TimeRemainingColumn(), console=console, transient=True, disable=disable) as bar:
        task = bar.add_task("importing", total=total_bytes)
        yield lambda progress: bar.update(task, completed=progress.place.bytes, description=_counts(progress))


def _counts(progress: Progress) -> str:
    return f"{progress.accepted:,} todos accepted, {progress.rejected:,} lines rejected"


class _FirstRejects:
    """Collects a line for each of the first SHOWN_REJECTS rejected lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, rejected: RejectedLine) -> None:
        if len(self.lines) < SHOWN_REJECTS:
            reasons = "; ".join(f"{field}: {message}" for field, message in rejected.errors.items())
            self.lines.append(f"line {rejected.number}: {printable(reasons.encode(errors='backslashreplace'))}")
        elif len(self.lines) == SHOWN_REJECTS:
            self.lines.append("and more")
