import time
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from todos.cli.arguments import add_examples
from todos.cli.command import OperatorCommand
from todos.cli.kafka import kafka_error, open_log
from todos.event_log import LogUnavailable
from todos.kafka.consumer import KafkaLog
from todos.ledger.leases import ensure_ledger

COORDINATOR_SECONDS, METADATA_SECONDS = 5, 15
EXAMPLES = """
examples:
  manage.py create_topics
  manage.py create_topics --partitions 12
  manage.py create_topics --partitions 6 --replication-factor 3

The topic is KAFKA_TOPIC. With more partitions, more polls can run at the same time; running polls notice new partitions
within 10 seconds. Kafka cannot remove partitions.

exit code: 0 the topic has at least as many partitions, created now or before; 1 Kafka refused or does not answer;
2 wrong usage
"""


class Command(OperatorCommand):
    help = "Create the topic of new todos, or add partitions to it. Safe to repeat: it removes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        default = settings.TOPIC_PARTITIONS
        parser.add_argument("--partitions", type=int, default=default, help=f"at least this many (default: {default})")
        parser.add_argument("--replication-factor", type=int, default=-1, help="default: the broker's own")

    def handle(self, *args: Any, partitions: int, replication_factor: int, **options: Any) -> None:
        if partitions < 1:
            raise CommandError("--partitions must be 1 or more", returncode=2)
        try:
            with open_log() as log:
                self._create(log, partitions, replication_factor)
                ensure_ledger(log.topic, _wait_for_partitions(log, partitions))
                _wait_for_coordinator(log)
        except LogUnavailable as exc:
            raise kafka_error(exc) from exc

    def _create(self, log: KafkaLog, partitions: int, replication_factor: int) -> None:
        if log.create_topic(partitions, replication_factor):
            self.stdout.write(f"created topic {log.topic} with {partitions} partitions")
            return
        existing = len(log.partitions())
        if existing < partitions:
            log.add_partitions(partitions)
            self.stdout.write(f"topic {log.topic} had {existing} partitions and has {partitions} now")
        else:
            self.stdout.write(f"topic {log.topic} exists with {existing} partitions")


def _wait_for_partitions(log: KafkaLog, count: int) -> list[int]:
    """Return the partitions once there are `count`. A broker may learn of new ones later than another answers."""
    deadline = time.monotonic() + METADATA_SECONDS
    while True:
        try:
            if len(partitions := log.partitions()) >= count or time.monotonic() > deadline:
                return partitions
        except LogUnavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _wait_for_coordinator(log: KafkaLog) -> None:
    """Let a new Kafka choose the group's coordinator now, which takes a second. Workers would warn that it has none."""
    deadline = time.monotonic() + COORDINATOR_SECONDS
    while time.monotonic() < deadline:
        with suppress(LogUnavailable):
            log.published_offsets()
            return
        time.sleep(0.1)
