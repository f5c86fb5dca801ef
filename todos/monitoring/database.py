"""Whether PostgreSQL takes what each poll writes, and which sessions hold polls up."""

from datetime import datetime
from typing import NamedTuple

from django.apps import apps
from django.db import Error as DatabaseFailure
from django.db import connection, transaction
from django.utils import timezone

from todos.ingest.errors import LOCK_NOT_AVAILABLE, READ_ONLY, sqlstate
from todos.ledger.poll_runs import describe_error
from todos.models import PollRun

LOCK_TIMEOUT = "1s"
ERROR_LENGTH = 1_000  # a smaller row would still fit where a full disk leaves no room for a poll's
LOCKED_SECONDS = 5  # as long as a store waits for a lock before it fails

# The modes that conflict with an INSERT. A prepared transaction has no process, and is reported at once. A role without
# pg_read_all_stats cannot read when other roles' transactions began: they count as begun now.
LOCKED_TABLES = """
    SELECT c.relname, l.pid, a.application_name, a.usename, a.state, a.xact_start
    FROM pg_locks l
    JOIN pg_class c ON c.oid = l.relation
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.granted
      AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND c.relname = ANY(%s)
      AND coalesce(a.xact_start, CASE WHEN l.pid IS NULL THEN '-infinity' ELSE statement_timestamp() END)
          < clock_timestamp() - %s * interval '1 second'
    ORDER BY a.xact_start, c.relname
"""


class WriteError(NamedTuple):
    """Why PostgreSQL refuses a write."""

    text: str
    is_read_only: bool


class TableLock(NamedTuple):
    """A lock that no write gets past, and the session that holds it."""

    table: str
    pid: int | None
    application: str | None
    user: str | None
    state: str | None
    since: datetime | None

    def __str__(self) -> str:
        session = ", ".join(filter(None, (self.application, self.user and f"user {self.user}", self.state)))
        holder = f"process {self.pid} ({session})" if self.pid else "a prepared transaction"
        return f"table {self.table} is locked by {holder}"


def limit_lock_waits() -> None:
    """Limit how long each statement of the caller's transaction may wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])


def find_write_error(topic: str) -> WriteError | None:
    """Write what each poll leaves, and roll it back. Return why PostgreSQL refused it.

    Raises a DatabaseError if PostgreSQL does not answer. A wait for a lock is no refusal; see `locked_tables`.
    """
    none = dict.fromkeys(("batches", "stored", "duplicates", "dead_letters", "lost", "failures"), 0)
    try:
        with transaction.atomic():
            limit_lock_waits()
            PollRun.objects.create(topic=topic, started_at=timezone.now(), last_error="?" * ERROR_LENGTH, **none)
            transaction.set_rollback(True)
    except DatabaseFailure as exc:
        state = sqlstate(exc)
        if state is None or state.startswith("57P"):  # the connection broke, or the server shuts down
            raise
        return (
            None if state == LOCK_NOT_AVAILABLE else WriteError(describe_error(exc).splitlines()[0], state == READ_ONLY)
        )
    return None


def locked_tables(held_seconds: float | None = None) -> list[TableLock]:
    """Return the locks of todos' and schedules' tables that have kept writes waiting for so long, the oldest first.

    `held_seconds` defaults to LOCKED_SECONDS.
    """
    tables = [
        model._meta.db_table
        for app in ("todos", "django_celery_beat")
        for model in apps.get_app_config(app).get_models()
    ]
    with connection.cursor() as cursor:
        cursor.execute(LOCKED_TABLES, [tables, LOCKED_SECONDS if held_seconds is None else held_seconds])
        return [TableLock(*row) for row in cursor.fetchall()]


def first_line(exc: DatabaseFailure) -> str:
    """Return the first line of what PostgreSQL answered; the others quote the statement."""
    return next(iter(str(exc).strip().splitlines()), type(exc).__name__)
