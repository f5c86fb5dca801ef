from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from todos.cli.arguments import add_examples
from todos.cli.kafka import opened_log
from todos.event_log import LogUnavailable
from todos.kafka.consumer import KafkaLog
from todos.ledger.leases import ensure_ledger

EXAMPLES = """
examples:
  manage.py create_topics
  manage.py create_topics --partitions 12
  manage.py create_topics --partitions 6 --replication-factor 3

The topic is KAFKA_TOPIC. More partitions let more polls work at the same time; running polls notice them within 10
seconds. Kafka can never take partitions away.

exit code: 0 it is there with as many partitions, also when it was before; 1 Kafka refused or does not answer;
2 wrong usage
"""


class Command(BaseCommand):
    help = "Create the topic of new todos, or add partitions to it. Safe to repeat: nothing is ever taken away."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        default = settings.TOPIC_PARTITIONS
        parser.add_argument("--partitions", type=int, default=default, help=f"at least this many (default: {default})")
        parser.add_argument("--replication-factor", type=int, default=-1, help="default: the broker's own")

    def handle(self, *args: Any, partitions: int, replication_factor: int, **options: Any) -> None:
        if partitions < 1:
            raise CommandError("--partitions: at least 1", returncode=2)
        try:
            with opened_log() as log:
                self._create(log, partitions, replication_factor)
                ensure_ledger(log.topic, log.partitions())
        except LogUnavailable as exc:
            raise CommandError(f"Kafka at {settings.KAFKA.bootstrap_servers}: {exc}") from exc

    def _create(self, log: KafkaLog, partitions: int, replication_factor: int) -> None:
        if log.create_topic(partitions, replication_factor):
            self.stdout.write(f"created topic {log.topic} with {partitions} partitions")
            return
        existing = len(log.partitions())
        if existing < partitions:
            log.add_partitions(partitions)
            self.stdout.write(f"topic {log.topic} had {existing} partitions, has {partitions} now")
        else:
            self.stdout.write(f"topic {log.topic} is there, with {existing} partitions")
