import time
from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.migrations import Migration

from todos.cli.arguments import add_examples
from todos.ingest.errors import LOCK_NOT_AVAILABLE, sqlstate

# Queries queue behind a schema change that waits for the same table; web requests time out after 5 s.
LOCK_TIMEOUT = "2s"
TRIES, PAUSE_SECONDS = 30, 1.0
EXAMPLES = """
examples:
  manage.py migrate
  manage.py migrate --plan
  manage.py migrate todos 0012

Safe while all services run: a change that does not get its lock within 2 seconds lets other queries pass and retries.

exit code: 0 the schema is up to date; 1 it is not, and the message says why; 2 wrong usage
"""


class Command(migrate.Command):
    help = "Django's migrate, which blocks other queries for 2 seconds at most."
    _database = DEFAULT_DB_ALIAS

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_examples(parser, EXAMPLES)

    def handle(self, *args: Any, **options: Any) -> None:
        self._database = options["database"]
        for tries_left in reversed(range(TRIES)):
            try:
                super().handle(*args, **options)
            except OperationalError as exc:
                if sqlstate(exc) != LOCK_NOT_AVAILABLE or not tries_left:
                    raise
            else:
                return
            self.stderr.write(f"\nthe table is in use, no lock within {LOCK_TIMEOUT}: trying again")
            time.sleep(PAUSE_SECONDS)

    def migration_progress_callback(self, action: str, migration: Migration | None = None, fake: bool = False) -> None:
        """Limit the wait for locks, but not of a migration that builds indexes concurrently, which blocks no query."""
        if migration and action.endswith("_start"):
            self._set_lock_timeout(LOCK_TIMEOUT if migration.atomic else "0")
        super().migration_progress_callback(action, migration, fake)
        if migration and action.endswith("_success"):
            self._set_lock_timeout("0")

    def _set_lock_timeout(self, value: str) -> None:
        with connections[self._database].cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [value])
