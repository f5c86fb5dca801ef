import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db.models.functions import Now
from rich.console import Console

from todos.cli.arguments import add_examples
from todos.cli.polling import SwitchCommand
from todos.models import Poller
from todos.operations.schedules import Switched, poll_schedules

# Longer than a poll takes for its last batch, and than the lease of a poll that died.
WAIT_SECONDS = 180
STILL_POLLING = 1
EXAMPLES = """
examples:
  manage.py pause_polling
  manage.py pause_polling --wait && pg_dump ... ; manage.py resume_polling
  manage.py pause_polling "Poll todo-create"

Running polls end after the batch that they store; polls that wait in the queue end before they read. The edge
continues to accept todos, and Kafka keeps them for its retention time: the command prints how long. manage.py
poll_todos and "Run now" in the admin still poll.

exit code: 0 paused, now or before; 1 --wait gave up; 2 no such schedule, or the database does not answer
"""


class Command(SwitchCommand):
    help = "Pause the schedules of the poll. Running polls end after the batch that they store; none starts any more."
    enabled = False
    verb = "paused"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_examples(parser, EXAMPLES)
        parser.add_argument("--wait", action="store_true", help="wait until no poll runs")

    def after(self, switched: list[Switched], options: dict[str, Any]) -> None:
        if options["wait"]:
            self._wait()
        else:
            self.stdout.write(f"{_running()} polls run; each ends after its batch. --wait waits for that")

    def _wait(self) -> None:
        if names := poll_schedules().filter(enabled=True).values_list("name", flat=True):
            raise CommandError(f"not waiting, others still poll: {', '.join(names)}", returncode=STILL_POLLING)
        deadline = time.monotonic() + WAIT_SECONDS
        with Console(stderr=True).status("waiting for polls to end"):
            while _running():
                if time.monotonic() > deadline:
                    text = f"{_running()} polls still run after {WAIT_SECONDS} s"
                    raise CommandError(text, returncode=STILL_POLLING)
                time.sleep(0.2)
        self.stdout.write("no poll runs")


def _running() -> int:
    return Poller.objects.filter(topic=settings.KAFKA.topic, expires_at__gt=Now()).count()
