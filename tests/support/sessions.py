"""Other sessions of the test's database: one that holds locks, and how many wait for a lock; and other roles."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def open_transaction(application: str = "a test") -> Iterator[Any]:
    """Yield the cursor of a session whose transaction is open until the end, when it is rolled back."""
    session = connection.copy()
    try:
        with session.cursor() as cursor:
            cursor.execute("SELECT set_config('application_name', %s, false)", [application])
            cursor.execute("BEGIN")
            yield cursor
            cursor.execute("ROLLBACK")
    finally:
        session.close()


@contextmanager
def as_plain_role() -> Iterator[None]:
    """Be a role that may read every table, but not what other roles' sessions do."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE plain; GRANT pg_read_all_data TO plain; SET ROLE plain")
        try:
            yield
        finally:
            cursor.execute("RESET ROLE; DROP ROLE plain")


def waiting_sessions() -> int:
    """Return how many sessions of this database wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])
