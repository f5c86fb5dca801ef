from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from todos.cli.arguments import add_examples
from todos.cli.command import OperatorCommand
from todos.cli.kafka import open_log
from todos.cli.output import progress_bar
from todos.event_log import Log, LogUnavailable
from todos.ingest.consumer import ConsumerRun
from todos.ingest.options import InvalidOptions, PollOptions
from todos.ledger.poll_runs import PollSummary
from todos.models import PartitionLedger
from todos.tasks import worker_name

EXAMPLES = """
examples:
  manage.py poll_todos
  manage.py poll_todos --timeout-ms 10000 --time-budget-seconds 60 --max-records 20000
  manage.py poll_todos --dead-letter-percent 100

The poll ends when no record arrived for --timeout-ms, or when its time budget is spent. It runs even while polling is
paused. With --dead-letter-percent 100, even a large batch that contains only bad records becomes dead letters.

exit code: 0 the poll ended without a failure, even if it found no record; 1 it failed at least once and retried, and
the last failure is printed; 2 wrong usage
"""


class Command(OperatorCommand):
    help = "Run one poll in the foreground: store what Kafka has. It shares the partitions with the workers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        for name, option in PollOptions.model_fields.items():
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                type=int,
                default=1_000 if name == "timeout_ms" else option.default,
                help=f"{option.description} Default: %(default)s",
            )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            poll_options = PollOptions.parse({name: options[name] for name in PollOptions.model_fields})
        except InvalidOptions as exc:
            raise CommandError(str(exc), returncode=2) from exc
        with open_log() as log:
            summary = self._run(log, poll_options)
        if summary.failures:
            raise CommandError(str(summary))
        self.stdout.write(str(summary))

    def _run(self, log: Log, options: PollOptions) -> PollSummary:
        with progress_bar("polling") as progress:
            bar = progress.add_task("", total=_lag(log))
            poll = ConsumerRun(
                log, options, worker_name(), on_batch=lambda so_far: progress.update(bar, completed=so_far.records)
            )
            return poll.run()


def _lag(log: Log) -> int | None:
    """Return the records that are not stored yet; None, for a bar without an end, while Kafka does not answer."""
    try:
        ranges = log.offset_ranges(log.partitions())
    except LogUnavailable:
        return None
    ledger = dict(PartitionLedger.objects.filter(topic=log.topic).values_list("partition", "next_offset"))
    return sum(max(held.end - ledger.get(partition, 0), 0) for partition, held in ranges.items())
