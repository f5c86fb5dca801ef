from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseFailure

from todos.cli.arguments import add_examples, integer
from todos.cli.kafka import opened_log
from todos.event_log import LogUnavailable, OffsetRange
from todos.kafka.consumer import KafkaLog
from todos.ledger.batch_history import WriterInfo
from todos.models import DeadLetter, PartitionLedger
from todos.operations.rewind import Move, WouldSkip, rewind
from todos.tasks import worker_name

EXAMPLES = """
examples:
  manage.py rewind --partition 0 --to-beginning --dry-run
  manage.py rewind --partition 0 --timestamp 2026-01-31T08:00:00Z
  manage.py rewind --partition 0 --offset 1000
  manage.py rewind --partition 0 --offset 5000 --skip

Back: reading again stores nothing twice, but todos that were deleted since come back. Forward: what is passed over is
recorded as lost, and needs --skip.

exit code: 0 moved, or --dry-run said what would happen; 1 nothing has happened, and why; 2 wrong usage
"""


class Command(BaseCommand):
    help = "Move the ledger of one partition, back or forward. Running polls notice by themselves."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        parser.add_argument("--partition", type=integer, required=True)
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("--offset", type=integer, help="the next offset to read")
        where.add_argument("--timestamp", type=_moment, help="ISO 8601, UTC unless it says otherwise")
        where.add_argument("--to-beginning", action="store_true", help="the oldest record that Kafka still has")
        parser.add_argument("--skip", action="store_true", help="allow to pass over records that were never stored")
        parser.add_argument("--dry-run", action="store_true", help="say what would happen, and do nothing")

    def handle(self, *args: Any, partition: int, skip: bool, dry_run: bool, **options: Any) -> None:
        topic = settings.KAFKA.topic
        try:
            with opened_log() as log:
                span = _span(log, partition)
                target = _target(log, partition, span, options)
            origin = WriterInfo(f"manage.py rewind on {worker_name()}")
            move = rewind(topic, partition, target, skip=skip or dry_run, dry_run=dry_run, origin=origin)
        except LogUnavailable as exc:
            raise CommandError(f"Kafka at {settings.KAFKA.bootstrap_servers}: {exc}") from exc
        except WouldSkip as exc:
            raise CommandError(f"{exc}; --skip records them as lost") from exc
        except PartitionLedger.DoesNotExist as exc:
            raise CommandError(f"no ledger for {topic}/{partition}; manage.py create_topics makes it") from exc
        except DatabaseFailure as exc:
            raise CommandError(f"nothing has happened: {str(exc).strip()}") from exc
        self.stdout.write(f"{topic}/{partition} {_describe(move)}")
        if move.before > span.end:
            self.stdout.write(_made_anew(topic, partition, move, span))
        if dry_run:
            needs = " It needs --skip." if move.skipped and not skip else ""
            self.stdout.write(f"Dry run: nothing has happened.{needs}")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _span(log: KafkaLog, partition: int) -> OffsetRange:
    if partition not in (known := log.partitions()):
        raise CommandError(f"--partition: {log.topic} has {known[0]} to {known[-1]}")
    return log.offset_ranges([partition])[partition]


def _target(log: KafkaLog, partition: int, span: OffsetRange, options: dict[str, Any]) -> int:
    if options["to_beginning"]:
        return span.first
    if (moment := options["timestamp"]) is not None:
        # To Kafka what is below 0 is not a time, but its end or beginning.
        offset = log.offset_at(partition, max(int(moment.timestamp() * 1000), 0))
        if offset is None:
            raise CommandError(f"--timestamp: {log.topic}/{partition} has no record of {moment.isoformat()} or later")
        return offset
    offset = int(options["offset"])
    if not span.first <= offset <= span.end:
        raise CommandError(
            f"--offset: Kafka has {span.first} to {span.end} of {log.topic}/{partition}, {span.end} is next"
        )
    return offset


def _describe(move: Move) -> str:
    if move.again:
        return (
            f"goes back from {move.before} to {move.after}: {move.again:,} offsets are read again."
            " Todos that are there stay as they are; those that were deleted since come back."
        )
    if move.skipped:
        return (
            f"goes forward from {move.before} to {move.after}: {move.skipped:,} offsets are not stored,"
            " and recorded as lost."
        )
    return f"stays at {move.after}; whoever reads it begins anew."


def _made_anew(topic: str, partition: int, move: Move, span: OffsetRange) -> str:
    letters = DeadLetter.objects.filter(
        topic=topic, partition=partition, offset__gte=move.after, offset__lt=move.before
    ).count()
    return (
        f"Kafka ends at {span.end}, so the topic was made anew, or has lost data. At offsets that were used before,"
        " a todo without an id of its own counts as a duplicate, and a bad record as the dead letter that is there"
        f" ({letters:,} are)."
    )
