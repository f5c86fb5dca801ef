"""What pause_polling and resume_polling share: they switch schedules, and print how much waits in Kafka."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure
from django_celery_beat.models import PeriodicTask

from todos.cli.command import OperatorCommand
from todos.cli.kafka import open_log
from todos.cli.output import database_error
from todos.monitoring.formatting import format_duration
from todos.monitoring.lag import fetch_status
from todos.operations.schedules import Switched, UnknownSchedule, switch_polling

FAILED = 2


class SwitchCommand(OperatorCommand):
    """Switches the schedules of the poll to `enabled`; `verb` is the past tense for its messages."""

    enabled: bool
    verb: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "names", nargs="*", metavar="name", help="of a schedule; default: all schedules of the poll"
        )

    def handle(self, *args: Any, names: list[str], **options: Any) -> None:
        try:
            switched = switch_polling(enabled=self.enabled, names=names)
            for schedule, changed in switched:
                self.stdout.write(f"{self._outcome(schedule, changed)} '{schedule.name}', {schedule.scheduler}")
            self.after(switched, options)
            self.stdout.write(_waiting_records())
        except UnknownSchedule as exc:
            raise CommandError(str(exc), returncode=FAILED) from exc
        except DatabaseFailure as exc:
            raise database_error(exc, returncode=FAILED) from exc

    def _outcome(self, schedule: PeriodicTask, changed: bool) -> str:
        if changed:
            return self.verb
        return f"was {self.verb} already:" if schedule.enabled == self.enabled else "not changed:"

    def after(self, switched: list[Switched], options: dict[str, Any]) -> None:
        """Do what the command does after switching; `switched` are the schedules as they were before."""


def _waiting_records() -> str:
    with open_log() as log:
        status = fetch_status(log)
    if status.kafka_error or status.lag is None:
        return f"the number of waiting records is unknown: {status.kafka_error}"
    soonest = min((p.deleted_in for p in status.partitions if p.deleted_in is not None), default=None)
    until = "" if soonest is None else f"; Kafka may delete the oldest in {format_duration(int(soonest))}"
    return f"{status.lag:,} records of {status.topic} are not stored yet{until}"
