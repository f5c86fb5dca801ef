import time
from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import migrate
from django.db import OperationalError, connections
from django.db.migrations import Migration

from todos.cli.arguments import add_examples
from todos.ingest.errors import LOCK_NOT_AVAILABLE, sqlstate

# Whoever needs the table queues up behind a change of the schema that waits for it; web requests give up after 5 s.
LOCK_TIMEOUT = "2s"
TRIES, PAUSE_SECONDS = 30, 1.0
EXAMPLES = """
examples:
  manage.py migrate
  manage.py migrate --plan
  manage.py migrate todos 0012

While everything runs: a change that does not get its lock within 2 seconds lets the others pass, and tries again.

exit code: 0 the schema is up to date; 1 it is not, and why; 2 wrong usage
"""


class Command(migrate.Command):
    help = "Django's migrate, which holds up nobody for longer than 2 seconds."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_examples(parser, EXAMPLES)

    def handle(self, *args: Any, **options: Any) -> None:
        self._connection = connections[options["database"]]
        for tries_left in reversed(range(TRIES)):
            try:
                super().handle(*args, **options)
            except OperationalError as exc:
                if sqlstate(exc) != LOCK_NOT_AVAILABLE or not tries_left:
                    raise
            else:
                return
            self.stderr.write(f"\nothers use the table, no lock within {LOCK_TIMEOUT}: trying again")
            time.sleep(PAUSE_SECONDS)

    def migration_progress_callback(self, action: str, migration: Migration | None = None, fake: bool = False) -> None:
        """A migration that is not atomic builds its indexes concurrently: it may wait, for nobody waits for it."""
        if migration and action.endswith("_start"):
            self._set_lock_timeout(LOCK_TIMEOUT if migration.atomic else "0")
        super().migration_progress_callback(action, migration, fake)
        if migration and action.endswith("_success"):
            self._set_lock_timeout("0")

    def _set_lock_timeout(self, value: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [value])
