from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure

from todos.cli.arguments import add_examples, integer
from todos.cli.command import OperatorCommand
from todos.cli.kafka import kafka_error, open_log
from todos.event_log import LogDiverged, LogUnavailable, OffsetOutOfRange, PartitionUnreadable
from todos.ingest.errors import SystemicFailure
from todos.ingest.store import LeaseLost
from todos.ledger.batch_history import WriterInfo
from todos.models import PartitionLedger
from todos.operations.set_aside import NothingToSetAside, Outcome, set_aside
from todos.tasks import worker_name

EXAMPLES = """
examples:
  manage.py set_aside --partition 0 --dry-run
  manage.py set_aside --partition 0
  manage.py set_aside --partition 0 --to 5000

The records that block the partition become dead letters, once, however many they are; all others are stored. Redrive
the dead letters when their cause is gone. To give records up instead, which records a loss: manage.py rewind --skip.

exit code: 0 done, or --dry-run printed what would happen; 1 not done, or not to the end, and the message says why; 2
wrong usage
"""


class Command(OperatorCommand):
    help = "Get a halted partition past the records that block it: store what can be stored, dead-letter the rest."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        parser.add_argument("--partition", type=integer, required=True)
        parser.add_argument("--to", type=integer, dest="end", help="the offset after the last; default: Kafka's end")
        parser.add_argument("--dry-run", action="store_true", help="print what would happen, and change nothing")

    def handle(self, *args: Any, partition: int, end: int | None, dry_run: bool, **options: Any) -> None:
        writer = WriterInfo(f"manage.py set_aside on {worker_name()}")
        try:
            with open_log() as log:
                outcome = set_aside(log, partition, end, dry_run=dry_run, writer=writer)
        except PartitionUnreadable as exc:
            advice = f"manage.py rewind --partition {partition} --offset {exc.offset + 1} --skip passes over it"
            raise CommandError(f"{exc}; {advice}") from exc
        except LogUnavailable as exc:
            raise kafka_error(exc) from exc
        except OffsetOutOfRange as exc:
            raise CommandError("Kafka deleted records that block it; the next poll records the loss") from exc
        except NothingToSetAside as exc:
            raise CommandError(f"nothing to set aside: {exc}") from exc
        except PartitionLedger.DoesNotExist as exc:
            raise CommandError(f"no ledger for {settings.KAFKA.topic}/{partition}") from exc
        except (SystemicFailure, LeaseLost, LogDiverged, DatabaseFailure) as exc:
            raise CommandError(f"stopped: {str(exc).strip()}") from exc
        self.stdout.write(_describe(partition, outcome))
        if dry_run:
            self.stdout.write("Dry run: nothing was changed.")


def _describe(partition: int, outcome: Outcome) -> str:
    return (
        f"{settings.KAFKA.topic}/{partition} from {outcome.first} to {outcome.end}: {outcome.todos:,} todos are stored,"
        f" {outcome.duplicates:,} were stored before, {outcome.dead_letters:,} records become dead letters,"
        f" {outcome.erased:,} are of erased owners."
    )
