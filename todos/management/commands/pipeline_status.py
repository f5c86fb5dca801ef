import json
import time
from argparse import ArgumentParser
from contextlib import closing, suppress
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.live import Live
from rich.text import Text

from todos.cli import pipeline_status as output
from todos.cli.arguments import add_examples, positive
from todos.cli.kafka import quiet_kafka
from todos.cli.pipes import ends_with_its_reader
from todos.monitoring.probes import Services
from todos.monitoring.report import Report, State, report

CODES = {State.OK: 0, State.ATTENTION: 1, State.UNREACHABLE: 2}
WATCH_SECONDS = 2.0
PATIENCE_SECONDS = 10.0  # a first connection to Kafka, on a busy machine
EXAMPLES = """
examples:
  manage.py pipeline_status
  manage.py pipeline_status --watch
  manage.py pipeline_status --json | jq .lag
  manage.py pipeline_status --watch 10 --json >> status.jsonl

exit code: 0 all is well; 1 an operator is needed; 2 Kafka or the database does not answer, or wrong usage; with
--watch 0, when Ctrl-C ends it

An operator is needed when Redis, beat or the workers fail, a partition stands still with an alarm, dead letters are
open (of any topic), Kafka deleted unread records in the last day or may within the hour, or every schedule of the
poll is paused: what the first page of the admin says, in the same words. --watch asks Kafka and Redis every 3 seconds
at most.

--json is one object; with --watch one a line. Keys may be added, but none is renamed or taken away. null: not known.
  at                  ISO time, UTC
  topic               name
  state               "ok", "attention", "unreachable": exit code 0, 1, 2
  problems            texts, for whoever is needed
  kafka_error         text, or null while Kafka answers
  database_error      text, or null while the database answers
  parts               objects with state ("ok", "warning", "bad", "unknown") and text: kafka, redis, database, beat,
                      workers
  lag                 records that are not stored yet; below 0: the topic was made anew
  lost                offsets that were never stored, ever
  open_dead_letters   number, counted up to 10,000
  paused_schedules    names, when all of the poll's schedules are off
  retention_seconds, retention_bytes
                      of the topic; null: without limit
  deleted_in_seconds  until Kafka may delete the oldest unread record; null: nothing is unread
  partitions          objects with partition, next_offset, end, lag, moved_at, leased_by, deleted_in_seconds, lost and
                      alarm
"""


class Command(BaseCommand):
    help = (
        "A table: partition, next offset, end, lag, who leases it, when Kafka may delete the oldest unread record,"
        " and how many offsets were lost. Without Kafka it shows what the database knows."
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
            help="again and again, until Ctrl-C (default: every 2 seconds)",
        )

    def handle(self, *args: Any, as_json: bool, watch: float | None, **options: Any) -> None:
        own = Services(settings.KAFKA, settings.CELERY_BROKER_URL, wait_seconds=PATIENCE_SECONDS)
        with quiet_kafka(), closing(own) as services:
            if watch is not None:
                with suppress(KeyboardInterrupt), ends_with_its_reader():
                    self._watch(services, watch, as_json=as_json)
                return
            found = report(services)
        self.stdout.write(json.dumps(found.as_dict(), indent=2) if as_json else output.as_text(found))
        if found.problems:
            raise CommandError("\n".join(found.problems), returncode=CODES[found.state])

    def _watch(self, services: Services, seconds: float, *, as_json: bool) -> None:
        if as_json or not self.stdout.isatty():
            while True:
                self._write(report(services), as_json=as_json)
                time.sleep(seconds)
        with Live(Text("asking Kafka and the database"), screen=True, auto_refresh=False) as live:
            live.refresh()
            while True:
                live.update(output.as_screen(report(services)), refresh=True)
                time.sleep(seconds)

    def _write(self, found: Report, *, as_json: bool) -> None:
        self.stdout.write(json.dumps(found.as_dict()) if as_json else output.as_text(found))
        if not as_json:
            for problem in found.problems:
                self.stdout.write(problem)
        self.stdout.flush()
