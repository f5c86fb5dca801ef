import json
import time
from argparse import ArgumentParser
from contextlib import closing, suppress
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.utils.timesince import timesince
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from todos.cli.arguments import add_examples, positive
from todos.cli.command import OperatorCommand
from todos.cli.kafka import quiet_kafka
from todos.cli.output import exit_quietly_when_pipe_closes
from todos.monitoring.checks import CheckState
from todos.monitoring.formatting import format_duration, format_number
from todos.monitoring.lag import PartitionStatus
from todos.monitoring.probes import Services
from todos.monitoring.report import Report, ReportState, build_report

CODES = {ReportState.OK: 0, ReportState.ATTENTION: 1, ReportState.UNREACHABLE: 2}
WATCH_SECONDS = 2.0
WAIT_SECONDS = 10.0  # for a first connection to Kafka on a busy machine
PIPE_WIDTH = 160  # a script expects one partition per line
STATE_STYLES = {ReportState.OK: "green", ReportState.ATTENTION: "yellow", ReportState.UNREACHABLE: "red"}
CHECK_STYLES = {
    CheckState.OK: "green",
    CheckState.WARNING: "yellow",
    CheckState.BAD: "red",
    CheckState.UNKNOWN: "yellow",
}
EXAMPLES = """
examples:
  manage.py pipeline_status
  manage.py pipeline_status --watch
  manage.py pipeline_status --json | jq .lag
  manage.py pipeline_status --watch 10 --json >> status.jsonl

exit code: 0 no problem; 1 a problem; 2 Kafka or the database cannot be read, or wrong usage; with --watch
0 when Ctrl-C ends it

Each problem is reported with its section of the runbook. The admin's first page and /readyz/pipeline report the same
ones.
--watch queries Kafka and Redis every 3 seconds at most.

--json prints one object, with --watch one per line. Keys may be added; none is renamed or removed. null: unknown.
  at                  ISO time, UTC
  topic               name
  state               "ok", "attention", "unreachable": exit code 0, 1, 2
  problems            texts, one for each problem
  diagnosis           the same problems as objects with code, text, partition, since and runbook
  kafka_error         text, or null while Kafka answers
  database_error      text, or null while the database answers
  parts               objects with state ("ok", "warning", "bad", "unknown") and text: kafka, redis, database, beat,
                      workers
  lag                 records that are not stored yet; negative: the topic was recreated
  lost                offsets that were never stored
  open_dead_letters   number, counted up to 10,000
  paused_schedules    names, when all of the poll's schedules are paused
  retention_seconds, retention_bytes
                      of the topic; null: without limit
  deleted_in_seconds  seconds until Kafka may delete the oldest unread record; null: nothing is unread
  partitions          objects with partition, next_offset, end, lag, moved_at, leased_by, deleted_in_seconds, lost and
                      alarm: why the partition is halted, or null
"""


class Command(OperatorCommand):
    help = (
        "Show how far each partition is stored, and what needs an operator. Without Kafka, it shows what the database"
        " knows."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        parser.add_argument("--json", action="store_true", dest="as_json", help="for scripts; the keys are below")
        parser.add_argument(
            "--watch",
            type=positive,
            nargs="?",
            const=WATCH_SECONDS,
            metavar="SECONDS",
            help="repeat until Ctrl-C (default: every 2 seconds)",
        )

    def handle(self, *args: Any, as_json: bool, watch: float | None, **options: Any) -> None:
        services = Services(settings.KAFKA, settings.CELERY_BROKER_URL, wait_seconds=WAIT_SECONDS)
        with quiet_kafka(), closing(services):
            if watch is not None:
                with suppress(KeyboardInterrupt), exit_quietly_when_pipe_closes():
                    self._watch(services, watch, as_json=as_json)
                return
            report = build_report(services)
        self.stdout.write(json.dumps(report.as_dict(), indent=2) if as_json else _as_text(report))
        if report.problems:
            raise CommandError("\n".join(map(str, report.problems)), returncode=CODES[report.state])

    def _watch(self, services: Services, seconds: float, *, as_json: bool) -> None:
        if as_json or not self.stdout.isatty():
            while True:
                self._write(build_report(services), as_json=as_json)
                time.sleep(seconds)
        with Live(Text("querying Kafka and the database"), screen=True, auto_refresh=False) as live:
            live.refresh()
            while True:
                live.update(_as_screen(build_report(services)), refresh=True)
                time.sleep(seconds)

    def _write(self, report: Report, *, as_json: bool) -> None:
        self.stdout.write(json.dumps(report.as_dict()) if as_json else _as_text(report))
        if not as_json:
            for problem in report.problems:
                self.stdout.write(str(problem))
        self.stdout.flush()


def _as_text(report: Report) -> str:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    with console.capture() as text:
        console.print(_as_tables(report))
    return text.get()


def _as_screen(report: Report) -> RenderableType:
    """Lay out a screen of --watch: the problems come first, since a small terminal cuts off the end."""
    state = Text(f"{report.at:%H:%M:%S} UTC  {report.state}", style=STATE_STYLES[report.state])
    return Group(state, *(Text(str(problem)) for problem in report.problems), _as_tables(report))


def _as_tables(report: Report) -> RenderableType:
    checks = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in report.checks:
        checks.add_row(check.name, Text(check.state, style=CHECK_STYLES[check.state]), check.text)
    return Group(checks, _partitions(report))


def _partitions(report: Report) -> RenderableType:
    if report.pipeline is None:
        return Text(f"topic {report.topic}: unknown without the database")
    table = Table(title=f"topic {report.topic}")
    for heading in ("partition", "next offset", "end", "lag"):
        table.add_column(heading, justify="right")
    table.add_column("last moved")
    table.add_column("leased by")
    table.add_column("deleted in", justify="right")
    table.add_column("lost", justify="right")
    for partition in report.pipeline.partitions:
        table.add_row(*_cells(partition))
    table.add_section()
    total = (format_number(report.lag), "", "", format_duration(report.deleted_in), format_number(report.lost))
    table.add_row("all", "", "", *total)
    retention = report.pipeline.retention
    if retention and retention.bytes is not None:
        size = f"retention.bytes is {retention.bytes:,} for each partition"
        return Group(table, Text(f"Kafka may delete earlier than that: {size}"))
    return table


def _cells(row: PartitionStatus) -> list[str]:
    moved = f"{timesince(row.moved_at, depth=1)} ago" if row.moved_at else "never"
    numbers = [str(row.partition), format_number(row.next_offset), format_number(row.end), format_number(row.lag)]
    return [*numbers, moved, row.holder or "-", format_duration(row.deleted_in), format_number(row.lost)]
