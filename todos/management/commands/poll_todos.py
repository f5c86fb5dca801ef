from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from todos.cli.arguments import add_examples
from todos.cli.kafka import opened_log
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

It ends when nothing came for --timeout-ms, or when its time is up. While polling is paused it is the only poll. With
--dead-letter-percent 100 even a large batch of nothing but bad records becomes dead letters.

exit code: 0 polled, also when there was nothing; 1 something failed, and was tried again: the last failure is named;
2 wrong usage
"""


class Command(BaseCommand):
    help = "One poll in the foreground: reads what Kafka has and stores it. Shares the partitions with the workers."

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
        with opened_log() as log:
            summary = self._run(log, poll_options)
        if summary.failures:
            raise CommandError(str(summary))
        self.stdout.write(str(summary))

    def _run(self, log: Log, options: PollOptions) -> PollSummary:
        with Progress(
            TextColumn("polling"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as progress:
            bar = progress.add_task("", total=_lag(log))
            poll = ConsumerRun(
                log, options, worker_name(), on_batch=lambda done: progress.update(bar, completed=done.records)
            )
            return poll.run()


def _lag(log: Log) -> int | None:
    """Records not stored yet; None, a bar without an end, while Kafka does not answer."""
    try:
        spans = log.offset_ranges(log.partitions())
    except LogUnavailable:
        return None
    ledger = dict(PartitionLedger.objects.filter(topic=log.topic).values_list("partition", "next_offset"))
    return sum(max(span.end - ledger.get(partition, 0), 0) for partition, span in spans.items())
