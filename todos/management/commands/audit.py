import json
from argparse import ArgumentParser
from collections import Counter
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure
from rich.console import Console
from rich.table import Table

from todos.cli.arguments import add_examples, integer
from todos.cli.command import OperatorCommand
from todos.cli.kafka import kafka_error, open_log
from todos.cli.output import database_error, progress_bar
from todos.event_log import Log, LogUnavailable, OffsetOutOfRange
from todos.operations.audit import OffsetKind, PartitionAudit, StoredByNewerRelease, audit_partition

SHOWN_OFFENDERS = 10
NOT_PROVED, NO_RESULT = 1, 2
EXAMPLES = """
examples:
  manage.py audit
  manage.py audit --partition 2 --from 1000 --to 2000
  manage.py audit --accept-deleted --json | jq .proved
  manage.py audit --topic todo-create-before

Polls may run meanwhile: the audit counts separately what they have not stored yet.

exit code: 0 proved; 1 not proved, the first offenders are listed; 2 the audit could not run, or wrong usage
"""


class Command(OperatorCommand):
    help = (
        "Read a range of the topic again and prove that each offset is one todo, duplicate, dead letter or recorded"
        " loss. Exit code 1 when one is not, 2 when the audit could not run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        parser.add_argument("--topic", help="default: KAFKA_TOPIC")
        parser.add_argument("--partition", type=integer, help="default: all")
        parser.add_argument("--from", type=integer, dest="first", help="first offset; default: the oldest in Kafka")
        parser.add_argument("--to", type=integer, dest="end", help="the offset after the last; default: Kafka's end")
        parser.add_argument(
            "--accept-deleted", action="store_true", help="accept todos that were deleted after storing"
        )
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, topic: str | None, accept_deleted: bool, as_json: bool, **options: Any) -> None:
        first, end = options["first"], options["end"]
        if first is not None and (first < 0 or (end is not None and end < first)):
            raise CommandError("--from must be 0 or more, and not above --to", returncode=NO_RESULT)
        topic = topic or settings.KAFKA.topic
        try:
            with open_log(settings.KAFKA.model_copy(update={"topic": topic})) as log:
                audits = _audit(log, options["partition"], first, end)
        except LogUnavailable as exc:
            raise kafka_error(exc, returncode=NO_RESULT) from exc
        except DatabaseFailure as exc:
            raise database_error(exc, returncode=NO_RESULT) from exc
        except OffsetOutOfRange as exc:
            message = "Kafka deleted records during the audit; start again"
            raise CommandError(message, returncode=NO_RESULT) from exc
        except StoredByNewerRelease as exc:
            raise CommandError(f"{exc}; audit with the newer release", returncode=NO_RESULT) from exc
        proved = all(audit.is_proved(accept_deleted=accept_deleted) for audit in audits)
        self.stdout.write(_as_json(topic, audits, proved=proved) if as_json else _as_text(topic, audits))
        if not proved:
            raise CommandError(f"the audit of {topic} found what cannot be proved", returncode=NOT_PROVED)


def _audit(log: Log, partition: int | None, first: int | None, end: int | None) -> list[PartitionAudit]:
    existing = log.partitions()
    if partition is not None and partition not in existing:
        raise CommandError(f"--partition: {log.topic} has {existing[0]} to {existing[-1]}", returncode=NO_RESULT)
    partitions = existing if partition is None else [partition]
    ranges = log.offset_ranges(partitions).values()
    if first is not None and first > (last := max(held.end for held in ranges)):
        raise CommandError(f"--from: Kafka has offsets below {last} of {log.topic}", returncode=NO_RESULT)
    total = sum(
        max(min(held.end, held.end if end is None else end) - max(held.first, first or 0), 0) for held in ranges
    )
    with progress_bar("auditing") as progress:
        advance = partial(progress.advance, progress.add_task("", total=total))
        return [audit_partition(log, partition, first, end, advance) for partition in partitions]


def _as_text(topic: str, audits: list[PartitionAudit]) -> str:
    kinds = sum((audit.kinds for audit in audits), Counter[OffsetKind]())
    table = Table(title=f"topic {topic}")
    table.add_column("offsets", justify="right")
    table.add_column("are")
    for kind in OffsetKind:
        table.add_row(f"{kinds[kind]:,}", kind)
    table.add_section()
    table.add_row(f"{kinds.total():,}", f"in {len(audits)} partitions")
    console = Console()
    with console.capture() as text:
        console.print(table)
    offenders = [f"{topic}/{audit.partition}/{offset}: {kind}" for audit in audits for offset, kind in audit.offenders]
    problems = [f"{topic}/{audit.partition}: {problem}" for audit in audits for problem in audit.problems]
    hidden = len(offenders) - SHOWN_OFFENDERS
    lines = [*problems, *offenders[:SHOWN_OFFENDERS], *([f"and {hidden:,} more"] if hidden > 0 else [])]
    return "\n".join([text.get().rstrip(), *lines])


def _as_json(topic: str, audits: list[PartitionAudit], *, proved: bool) -> str:
    partitions = [
        {
            "partition": audit.partition,
            "from": audit.first,
            "to": audit.end,
            "counts": {kind.name.lower(): audit.kinds[kind] for kind in OffsetKind},
            "problems": audit.problems,
            "offenders": [
                {"offset": offset, "kind": kind.name.lower()} for offset, kind in audit.offenders[:SHOWN_OFFENDERS]
            ],
        }
        for audit in audits
    ]
    return json.dumps({"topic": topic, "proved": proved, "partitions": partitions}, indent=2)
