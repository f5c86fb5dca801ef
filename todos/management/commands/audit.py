import json
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from todos.cli.arguments import add_examples, integer
from todos.cli.kafka import opened_log
from todos.event_log import Log, LogUnavailable, OffsetOutOfRange
from todos.operations.audit import Audit, Kind, PartitionAudit, TooNewToJudge

SHOWN_OFFENDERS = 10
UNPROVED, IMPOSSIBLE = 1, 2
EXAMPLES = """
examples:
  manage.py audit
  manage.py audit --partition 2 --from 1000 --to 2000
  manage.py audit --accept-deleted --json | jq .proved
  manage.py audit --topic todo-create-before

Polls may run meanwhile: what they have not stored yet is counted by itself.

exit code: 0 proved; 1 not proved, and the first offenders are named; 2 it cannot be told, or wrong usage
"""


class Command(BaseCommand):
    help = (
        "Read a range of the topic again and prove that each offset is one todo, duplicate, dead letter or recorded"
        " loss. Exit code 1 when one is not, 2 when it cannot be told."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        parser.add_argument("--topic", help="default: KAFKA_TOPIC")
        parser.add_argument("--partition", type=integer, help="default: all")
        parser.add_argument("--from", type=integer, dest="first", help="first offset; default: the oldest in Kafka")
        parser.add_argument("--to", type=integer, dest="end", help="the offset after the last; default: Kafka's end")
        parser.add_argument("--accept-deleted", action="store_true", help="todos that were stored, but deleted since")
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, topic: str | None, accept_deleted: bool, as_json: bool, **options: Any) -> None:
        first, end = options["first"], options["end"]
        if first is not None and (first < 0 or (end is not None and end < first)):
            raise CommandError("--from: not below 0, and not above --to", returncode=IMPOSSIBLE)
        topic = topic or settings.KAFKA.topic
        try:
            with opened_log(settings.KAFKA.model_copy(update={"topic": topic})) as log:
                audits = _audit(log, options["partition"], first, end)
        except LogUnavailable as exc:
            raise CommandError(f"Kafka at {settings.KAFKA.bootstrap_servers}: {exc}", returncode=IMPOSSIBLE) from exc
        except OffsetOutOfRange as exc:
            message = "Kafka deleted records while they were read; start again"
            raise CommandError(message, returncode=IMPOSSIBLE) from exc
        except TooNewToJudge as exc:
            raise CommandError(f"{exc}; audit with the newer release", returncode=IMPOSSIBLE) from exc
        failed = any(audit.fails(accept_deleted=accept_deleted) for audit in audits)
        self.stdout.write(_json(topic, audits, failed) if as_json else _text(topic, audits))
        if failed:
            raise CommandError(f"the audit of {topic} found what cannot be proved", returncode=UNPROVED)


def _audit(log: Log, partition: int | None, first: int | None, end: int | None) -> list[PartitionAudit]:
    known = log.partitions()
    if partition is not None and partition not in known:
        raise CommandError(f"--partition: {log.topic} has {known[0]} to {known[-1]}", returncode=IMPOSSIBLE)
    wanted = known if partition is None else [partition]
    spans = log.offset_ranges(wanted).values()
    if first is not None and first > (last := max(span.end for span in spans)):
        raise CommandError(f"--from: Kafka has offsets below {last} of {log.topic}", returncode=IMPOSSIBLE)
    total = sum(max(min(span.end, span.end if end is None else end) - max(span.first, first or 0), 0) for span in spans)
    with Progress(
        TextColumn("auditing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        bar = progress.add_task("", total=total)
        advance: Callable[[int], None] = lambda offsets: progress.advance(bar, offsets)  # noqa: E731
        return [Audit(log, partition, advance).run(first, end) for partition in wanted]


def _text(topic: str, audits: list[PartitionAudit]) -> str:
    kinds = sum((audit.kinds for audit in audits), Counter[Kind]())
    table = Table(title=f"topic {topic}")
    table.add_column("offsets", justify="right")
    table.add_column("are")
    for kind in Kind:
        table.add_row(f"{kinds[kind]:,}", kind)
    table.add_section()
    table.add_row(f"{kinds.total():,}", f"in {len(audits)} partitions")
    console = Console()
    with console.capture() as text:
        console.print(table)
    offenders = [f"{topic}/{audit.partition}/{offset}: {kind}" for audit in audits for offset, kind in audit.offenders]
    problems = [f"{topic}/{audit.partition}: {problem}" for audit in audits for problem in audit.problems]
    more = len(offenders) - SHOWN_OFFENDERS
    lines = [*problems, *offenders[:SHOWN_OFFENDERS], *([f"and {more:,} more"] if more > 0 else [])]
    return "\n".join([text.get().rstrip(), *lines])


def _json(topic: str, audits: list[PartitionAudit], failed: bool) -> str:
    partitions = [
        {
            "partition": audit.partition,
            "from": audit.first,
            "to": audit.end,
            "counts": {kind.name.lower(): audit.kinds[kind] for kind in Kind},
            "problems": audit.problems,
            "offenders": [
                {"offset": offset, "kind": kind.name.lower()} for offset, kind in audit.offenders[:SHOWN_OFFENDERS]
            ],
        }
        for audit in audits
    ]
    return json.dumps({"topic": topic, "proved": not failed, "partitions": partitions}, indent=2)
