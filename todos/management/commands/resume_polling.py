from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from todos.cli.arguments import add_examples
from todos.cli.polling import SwitchCommand
from todos.operations.schedules import Switched

EXAMPLES = """
examples:
  manage.py resume_polling
  manage.py resume_polling "Poll todo-create"

Polling continues at the offset of each ledger. The command resumes the schedules that pause_polling or the admin's
Pause button paused. If it says that none was paused, a schedule was disabled in its form: name that schedule.

exit code: 0 resumed, now or before; 1 no schedule was paused and all are disabled; 2 no such schedule, or the database
does not answer
"""


class Command(SwitchCommand):
    help = "Resume the schedules of the poll. Beat notices within 5 seconds."
    enabled = True
    verb = "resumed"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_examples(parser, EXAMPLES)

    def after(self, switched: list[Switched], options: dict[str, Any]) -> None:
        if not any(changed or schedule.enabled for schedule, changed in switched):
            raise CommandError("no schedule was paused; to resume a disabled one, name it")
