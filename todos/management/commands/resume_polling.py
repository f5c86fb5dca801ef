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

Polling goes on where each ledger stands. What a pause switched off, by pause_polling or a button of the admin, is
switched on again; what somebody switched off in its form stays off, unless it is named here.

exit code: 0 on, also when it was before; 1 nothing polls, because all is switched off for good; 2 no such schedule, or
the database is away
"""


class Command(SwitchCommand):
    help = "Switch the schedules of the poll on again. Beat notices within 5 seconds."
    enabled = True
    verb = "resumed"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_examples(parser, EXAMPLES)

    def after(self, switched: list[Switched], options: dict[str, Any]) -> None:
        if not any(changed or schedule.enabled for schedule, changed in switched):
            raise CommandError("nothing polls: no pause switched these off; name what to resume")
