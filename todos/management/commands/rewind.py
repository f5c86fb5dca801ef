from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure

from todos.cli.arguments import add_examples, integer
from todos.cli.command import OperatorCommand
from todos.cli.kafka import kafka_error, open_log
from todos.event_log import LogUnavailable, OffsetRange
from todos.kafka.consumer import KafkaLog
from todos.ledger.batch_history import WriterInfo
from todos.models import DeadLetter, PartitionLedger
from todos.operations.rewind import Move, WouldSkip, find_agreement, rewind
from todos.tasks import worker_name

EXAMPLES = """
examples:
  manage.py rewind --partition 0 --to-beginning --dry-run
  manage.py rewind --partition 0 --timestamp 2026-01-31T08:00:00Z
  manage.py rewind --partition 0 --offset 1000
  manage.py rewind --partition 0 --offset 5000 --skip
  manage.py rewind --partition 0 --to-agreement

If Kafka's log is no longer the one that was stored, after a restore of its disk or an unclean election, --to-agreement
reads again from where the two agree, and skips nothing that Kafka still has.

Moving back stores no todo twice, but todos that were deleted since are stored again, except those of erased owners.
Moving forward records the skipped offsets as lost, and needs --skip.

exit code: 0 moved, or --dry-run printed what would happen; 1 not moved, and the message says why; 2 wrong usage
"""


class Command(OperatorCommand):
    help = "Move the ledger of one partition back or forward. Running polls notice by themselves."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        parser.add_argument("--partition", type=integer, required=True)
        target = parser.add_mutually_exclusive_group(required=True)
        target.add_argument("--offset", type=integer, help="the next offset to read")
        target.add_argument("--timestamp", type=_moment, help="ISO 8601, UTC unless it names another time zone")
        target.add_argument("--to-beginning", action="store_true", help="the oldest record that Kafka still has")
        target.add_argument(
            "--to-agreement", action="store_true", help="where a log that has diverged still is the one that was stored"
        )
        parser.add_argument("--skip", action="store_true", help="allow skipping records that were never stored")
        parser.add_argument("--dry-run", action="store_true", help="print what would happen, and change nothing")

    def handle(self, *args: Any, partition: int, skip: bool, dry_run: bool, **options: Any) -> None:
        topic = settings.KAFKA.topic
        try:
            with open_log() as log:
                held = _held_range(log, partition)
                agreed = find_agreement(log, partition, held)
                target = _target(log, partition, held, agreed, options)
            origin = WriterInfo(f"manage.py rewind on {worker_name()}")
            options = {"log_end": held.end, "agreed": agreed, "skip": skip or dry_run, "dry_run": dry_run}
            move = rewind(topic, partition, target, **options, origin=origin)
        except LogUnavailable as exc:
            raise kafka_error(exc) from exc
        except WouldSkip as exc:
            raise CommandError(f"{exc}; --skip records them as lost") from exc
        except PartitionLedger.DoesNotExist as exc:
            raise CommandError(f"no ledger for {topic}/{partition}; manage.py create_topics creates it") from exc
        except DatabaseFailure as exc:
            raise CommandError(f"not moved: {str(exc).strip()}") from exc
        if move.agreed < move.before:
            self.stdout.write(_describe_divergence(topic, partition, move, held))
        self.stdout.write(f"{topic}/{partition} {_describe(move)}")
        if move.agreed < move.before or move.before > held.end:
            self.stdout.write(_warn_of_used_offsets(topic, partition, move, held))
        if dry_run:
            needs = " It needs --skip." if move.skipped and not skip else ""
            self.stdout.write(f"Dry run: nothing was changed.{needs}")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _held_range(log: KafkaLog, partition: int) -> OffsetRange:
    if partition not in (existing := log.partitions()):
        raise CommandError(f"--partition: {log.topic} has {existing[0]} to {existing[-1]}")
    return log.offset_ranges([partition])[partition]


def _target(log: KafkaLog, partition: int, held: OffsetRange, agreed: int | None, options: dict[str, Any]) -> int:
    if options["to_beginning"]:
        return held.first
    if (moment := options["timestamp"]) is not None:
        # Kafka reads a negative timestamp as its end or its beginning.
        offset = log.offset_at(partition, max(int(moment.timestamp() * 1000), 0))
        if offset is None:
            raise CommandError(f"--timestamp: {log.topic}/{partition} has no record of {moment.isoformat()} or later")
        return offset
    if options["to_agreement"]:
        if agreed is None:
            raise CommandError(f"--to-agreement: the log of {log.topic}/{partition} is not known to have diverged")
        return max(agreed, held.first)
    offset = int(options["offset"])
    if not held.first <= offset <= held.end:
        raise CommandError(
            f"--offset: Kafka has {held.first} to {held.end} of {log.topic}/{partition}, {held.end} is next"
        )
    return offset


def _describe(move: Move) -> str:
    costs = []
    if move.reread:
        costs.append(
            f"{move.reread:,} offsets are read again."
            " Stored todos do not change; todos that were deleted since are stored again."
        )
    if move.skipped:
        costs.append(f"{move.skipped:,} offsets are not stored, and recorded as lost.")
    if not costs:
        return f"stays at {move.after}; the next poll starts there."
    way = "back" if move.reread else "forward"
    return f"moves {way} from {move.before} to {move.after}: {' '.join(costs)}"


def _describe_divergence(topic: str, partition: int, move: Move, held: OffsetRange) -> str:
    """Say what each choice costs."""
    unread = max(held.end - max(move.agreed, held.first), 0)
    skipped = max(min(move.before, held.end) - move.agreed, 0)
    return (
        f"The log of {topic}/{partition} is the one that was stored up to offset {move.agreed}; it ends at {held.end}."
        f" Offsets {move.agreed} to {move.before - 1} were stored from a log that Kafka has lost: their todos stay.\n"
        f"  --to-agreement reads {unread:,} offsets that were never stored, and skips none of them.\n"
        f"  --offset {min(move.before, held.end)} --skip gives up {skipped:,} of them, and records them as lost."
    )


def _warn_of_used_offsets(topic: str, partition: int, move: Move, held: OffsetRange) -> str:
    letters = DeadLetter.objects.filter(
        topic=topic, partition=partition, offset__gte=move.after, offset__lt=move.before
    ).count()
    return (
        f"Kafka ends at {held.end}, so the topic was recreated or has lost data. At offsets that were used before,"
        " a new todo without an id counts as a duplicate, and a new bad record as the existing dead letter"
        f" ({letters:,} exist)."
    )
