import time
from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db.models.functions import Now
from django.utils import timezone
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from rich.console import Console

from todos.cli.arguments import add_examples
from todos.cli.polling import SwitchCommand
from todos.models import Poller
from todos.operations.schedules import Switched, poll_options, poll_schedules

BEAT_NOTICES_SECONDS = 5
# Longer than the longest poll, and than the lease of a poll that died.
WAIT_SECONDS = 180
STILL_POLLING = 1
EXAMPLES = """
examples:
  manage.py pause_polling
  manage.py pause_polling --wait && pg_dump ... ; manage.py resume_polling
  manage.py pause_polling "Poll todo-create"

The edge continues to accept todos, and Kafka keeps them for its retention time: the command prints how long. manage.py
poll_todos still polls.

exit code: 0 paused, now or before; 1 --wait gave up; 2 no such schedule, or the database does not answer
"""


class Command(SwitchCommand):
    help = "Pause the schedules of the poll. Beat notices within 5 seconds; running polls end within their time budget."
    enabled = False
    verb = "paused"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_examples(parser, EXAMPLES)
        parser.add_argument("--wait", action="store_true", help="wait until no poll runs and none can start")

    def after(self, switched: list[Switched], options: dict[str, Any]) -> None:
        paused = [schedule for schedule, _ in switched]
        last_start = _last_start(paused)
        if options["wait"]:
            self._wait(last_start)
            return
        seconds = max((last_start - timezone.now()).total_seconds(), 0)
        start = f"; beat and the queue may start another within {seconds:.0f} s" if seconds else ""
        budget = max(poll_options(schedule).time_budget_seconds for schedule in paused)
        self.stdout.write(f"{_running()} polls run{start}; each ends within {budget} s. --wait waits for that")

    def _wait(self, last_start: datetime) -> None:
        if names := poll_schedules().filter(enabled=True).values_list("name", flat=True):
            raise CommandError(f"not waiting, others still poll: {', '.join(names)}", returncode=STILL_POLLING)
        deadline = time.monotonic() + WAIT_SECONDS
        with Console(stderr=True).status("waiting for polls to end"):
            while timezone.now() < last_start or _running():
                if time.monotonic() > deadline:
                    text = f"{_running()} polls still run after {WAIT_SECONDS} s"
                    raise CommandError(text, returncode=STILL_POLLING)
                time.sleep(0.2)
        self.stdout.write("no poll runs")


def _last_start(paused: list[PeriodicTask]) -> datetime:
    """Return when beat has noticed the last change of any schedule, and the ticks it sent until then have expired."""
    changed: datetime = PeriodicTasks.last_change() or timezone.now()
    return changed + timedelta(seconds=BEAT_NOTICES_SECONDS + max(task.expire_seconds or 0 for task in paused))


def _running() -> int:
    return Poller.objects.filter(topic=settings.KAFKA.topic, expires_at__gt=Now()).count()
