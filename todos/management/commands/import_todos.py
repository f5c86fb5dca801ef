import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from todos.cli import import_todos as output
from todos.cli.arguments import add_examples, add_format, format_of, positive
from todos.cli.kafka import opened_log, quiet_kafka
from todos.event_log import LogUnavailable
from todos.kafka.producer import KafkaBulkSender
from todos.transfer.imports import job as jobs
from todos.transfer.imports.job import InvalidState, Job
from todos.transfer.imports.lines import Line, UnusableFile, read_lines
from todos.transfer.imports.run import Import, NullSender, PipelinedSender, paced

SOME_REJECTED, IMPOSSIBLE, INTERRUPTED = 1, 2, 130
EXAMPLES = """
examples:
  manage.py import_todos todos.csv --dry-run
  manage.py import_todos todos.csv
  manage.py import_todos todos.csv.rejects.jsonl
  manage.py import_todos todos.jsonl --rate 500 --rejects bad.jsonl --ignore-unknown
  manage.py import_todos - --format csv --rejects bad.jsonl

CSV: a heading with title and, if wanted, description, owner, id, created_at; UTF-8, commas, quoted texts may have
several lines. JSON Lines: one object a line with the same names. A created_at needs its time zone:
2026-01-31T08:00:00Z. What export_todos writes is read too, but is_done is left out: an event cannot say it. In CSV,
one apostrophe in front of a formula ('=1+1) is taken away: export_todos puts it there.

Each todo keeps its id, or gets one from the content of the whole file and its line's number. So the same file is
stored once, however often it is imported, under whatever name. FILE.progress says how far an import came: after an
interruption the same command goes on there. A file that was edited is another file: to repair rejected lines, do not
edit it; edit FILE.rejects.jsonl, and import that. Standard input cannot be taken up again, and its todos get new ids
each time, unless they have their own.

exit code: 0 all accepted, 1 some lines rejected, 2 wrong usage, or Kafka is away and the message says how to go on,
130 interrupted
"""


class Command(BaseCommand):
    help = (
        "Import todos from a file. They go into Kafka, and the polls store them like all others."
        " Lines that can never be a todo go into a file of rejects."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        parser.add_argument("file", help="CSV or JSON Lines, or - for standard input")
        add_format(parser, "as the file's name ends")
        parser.add_argument("--rejects", type=Path, metavar="FILE", help="default: FILE.rejects.jsonl")
        parser.add_argument("--progress", type=Path, metavar="FILE", help="default: FILE.progress")
        parser.add_argument("--restart", action="store_true", help="forget FILE.progress, begin with the first line")
        parser.add_argument("--ignore-unknown", action="store_true", help="leave out columns of other names")
        parser.add_argument("--rate", type=positive, metavar="N", help="at most N lines a second; default: no limit")
        parser.add_argument("--dry-run", action="store_true", help="check every line; send and write nothing")

    def handle(self, *args: Any, file: str, rate: float | None, dry_run: bool, **options: Any) -> None:
        file_format = format_of(Path(file), options["format"])
        try:
            with _opened(file) as source:
                job = jobs.dry_run() if dry_run else _job(source, file, **options)
                start, ignore_unknown = job.progress.place, options["ignore_unknown"]
                lines = read_lines(source, file_format, ignore_unknown=ignore_unknown, start=start)
                if job.progress.finished:
                    self.stdout.write("imported before; --restart would send it again, and store nothing twice")
                else:
                    self._run(job, source, paced(lines, rate) if rate else lines, dry_run=dry_run)
        except (UnusableFile, InvalidState) as exc:
            raise CommandError(f"{file}: {exc}", returncode=IMPOSSIBLE) from exc
        except OSError as exc:
            raise CommandError(f"{exc.filename or file}: {exc.strerror or exc}", returncode=IMPOSSIBLE) from exc
        self._summarize(job)

    def _run(self, job: Job, source: BinaryIO, lines: Iterable[Line], *, dry_run: bool) -> None:
        if job.progress.place.lines:
            self.stderr.write(f"going on behind line {job.progress.place.lines:,}")
        first = output.FirstRejects()
        try:
            with _sender(dry_run=dry_run) as sender, output.bar(_size(source)) as show:
                Import(job.progress, sender, [job.reject, first.add], [job.save, show]).run(lines)
        except LogUnavailable as exc:
            reason = f"Kafka at {settings.KAFKA.bootstrap_servers}: {exc}"
            raise CommandError(f"{reason}. {_how_far(job)}", returncode=IMPOSSIBLE) from exc
        except KeyboardInterrupt:
            raise CommandError(f"interrupted. {_how_far(job)}", returncode=INTERRUPTED) from None
        finally:
            for line in first.lines:
                self.stderr.write(line)

    def _summarize(self, job: Job) -> None:
        progress = job.progress
        self.stdout.write(output.counts(progress))
        if progress.were_done:
            self.stdout.write(f"{progress.were_done:,} are done where they come from; those that are new start open")
        if progress.rejected:
            where = f": repair them in {job.rejects.path}, and import that" if job.rejects else ""
            raise CommandError(f"{progress.rejected:,} lines rejected{where}", returncode=SOME_REJECTED)


def _opened(file: str) -> AbstractContextManager[BinaryIO]:
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    if Path(file).exists() and not Path(file).is_file():
        raise UnusableFile("is no file that can be read again; give it to import_todos - as standard input")
    return Path(file).open("rb")


def _job(source: BinaryIO, file: str, *, rejects: Path | None, progress: Path | None, restart: bool, **_: Any) -> Job:
    if file != "-":
        rejects, progress = rejects or Path(f"{file}.rejects.jsonl"), progress or Path(f"{file}.progress")
        return jobs.of_file(source, Path(file), rejects, progress, restart=restart)
    if rejects is None or progress or restart:
        raise UnusableFile("standard input needs --rejects, and cannot be taken up again")
    return jobs.of_stream(rejects)


@contextmanager
def _sender(*, dry_run: bool) -> Iterator[PipelinedSender]:
    """Raises LogUnavailable at once: better than after the first time-out."""
    if dry_run:
        yield NullSender()
        return
    with opened_log() as log:
        log.partitions()
    with quiet_kafka(), KafkaBulkSender(settings.KAFKA) as sender:
        yield sender


def _size(source: BinaryIO) -> int | None:
    return os.fstat(source.fileno()).st_size if source.seekable() else None


def _how_far(job: Job) -> str:
    return f"{job.progress.place.lines:,} lines are done{job.resume_hint}"
