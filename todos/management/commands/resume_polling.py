from argparse import ArgumentParser

from todos.management.commands._arguments import add_examples
from todos.management.commands._polling import SwitchCommand

EXAMPLES = """
examples:
  manage.py resume_polling
  manage.py resume_polling "Poll todo-create"

Polling goes on where each ledger stands. Also a schedule that was switched off in the admin goes on, unless the ones
to resume are named.

exit code: 0 on, also when it was before; 2 no such schedule, or the database is away
"""


class Command(SwitchCommand):
    help = "Switch the schedules of the poll on again. Beat notices within 5 seconds."
    enabled = True
    verb = "resumed"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_examples(parser, EXAMPLES)
