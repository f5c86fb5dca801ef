"""What pause_polling and resume_polling have in common: the switch, and how much waits in Kafka."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseFailure
from django_celery_beat.models import PeriodicTask

from todos.cli.kafka import opened_log
from todos.monitoring.lag import pipeline_status
from todos.operations.schedules import Switched, UnknownSchedule, switch_polling

IMPOSSIBLE = 2


class SwitchCommand(BaseCommand):
    enabled: bool
    verb: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="name", help="of a schedule; default: every one of the poll")

    def handle(self, *args: Any, names: list[str], **options: Any) -> None:
        try:
            switched = switch_polling(enabled=self.enabled, names=names)
            for schedule, changed in switched:
                self.stdout.write(f"{self._told(schedule, changed)} '{schedule.name}', {schedule.scheduler}")
            self.after(switched, options)
            self.stdout.write(_not_stored())
        except UnknownSchedule as exc:
            raise CommandError(str(exc), returncode=IMPOSSIBLE) from exc
        except DatabaseFailure as exc:
            raise CommandError(f"database: {str(exc).strip().splitlines()[0]}", returncode=IMPOSSIBLE) from exc

    def _told(self, schedule: PeriodicTask, changed: bool) -> str:
        if changed:
            return self.verb
        return f"was {self.verb} already:" if schedule.enabled == self.enabled else "stays as it was:"

    def after(self, switched: list[Switched], options: dict[str, Any]) -> None:
        """What else is to be said or done."""


def _not_stored() -> str:
    with opened_log() as log:
        status = pipeline_status(log)
    if status.kafka_error or status.lag is None:
        return f"how much waits in Kafka cannot be told: {status.kafka_error}"
    soonest = min((p.deleted_in for p in status.partitions if p.deleted_in is not None), default=None)
    until = "" if soonest is None else f"; Kafka may delete the oldest in {timedelta(seconds=int(soonest))}"
    return f"{status.lag:,} records of {status.topic} are not stored yet{until}"
