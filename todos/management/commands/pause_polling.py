import json
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
from todos.ingest.options import InvalidOptions, PollOptions
from todos.models import Poller
from todos.operations.schedules import Switched, poll_schedules

BEAT_NOTICES_SECONDS = 5
# Above what the longest poll takes, and what is left of a dead one.
WAIT_SECONDS = 180
STILL_POLLING = 1
EXAMPLES = """
examples:
  manage.py pause_polling
  manage.py pause_polling --wait && pg_dump ... ; manage.py resume_polling
  manage.py pause_polling "Poll todo-create"

The edge goes on, and Kafka keeps what comes, as long as its retention allows: it says for how long. manage.py
poll_todos still polls.

exit code: 0 off, also when it was before; 1 --wait was in vain; 2 no such schedule, or the database is away
"""


class Command(SwitchCommand):
    help = (
        "Switch the schedules of the poll off. Beat notices within 5 seconds; polls that run end by themselves,"
        " within their time budget."
    )
    enabled = False
    verb = "paused"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_examples(parser, EXAMPLES)
        parser.add_argument("--wait", action="store_true", help="until no poll runs and none can begin")

    def after(self, switched: list[Switched], options: dict[str, Any]) -> None:
        paused = [schedule for schedule, _ in switched]
        last_start = _last_start(paused)
        if options["wait"]:
            self._wait(last_start)
            return
        seconds = max((last_start - timezone.now()).total_seconds(), 0)
        begin = f"; beat and the queue may begin another within {seconds:.0f} s" if seconds else ""
        budget = max(map(_budget, paused))
        self.stdout.write(f"{_running()} polls run{begin}; each ends within {budget} s. --wait waits for that")

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
    """When beat has noticed the last change of any schedule, and the ticks that it sent until then have expired."""
    changed: datetime = PeriodicTasks.last_change() or timezone.now()
    return changed + timedelta(seconds=BEAT_NOTICES_SECONDS + max(task.expire_seconds or 0 for task in paused))


def _budget(schedule: PeriodicTask) -> int:
    try:
        return PollOptions.parse(json.loads(schedule.kwargs or "{}")).time_budget_seconds
    except (InvalidOptions, ValueError, TypeError):
        return PollOptions().time_budget_seconds  # as the poll itself does


def _running() -> int:
    return Poller.objects.filter(topic=settings.KAFKA.topic, expires_at__gt=Now()).count()
