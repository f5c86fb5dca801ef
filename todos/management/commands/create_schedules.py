from argparse import ArgumentParser
from typing import Any

from todos.cli.arguments import add_examples
from todos.cli.command import OperatorCommand
from todos.operations.schedules import create_default_schedules

EXAMPLES = """
examples:
  manage.py create_schedules

Safe to repeat, and part of every deployment. To restore a default, delete its schedule in the admin first.

exit code: 0 the schedules exist, created now or before; 1 the database does not answer
"""


class Command(OperatorCommand):
    help = "Create the default schedules where they are missing. Operators' edits are never changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)

    def handle(self, *args: Any, **options: Any) -> None:
        for name, created in create_default_schedules().items():
            self.stdout.write(f"schedule '{name}' {'created' if created else 'exists, not changed'}")
