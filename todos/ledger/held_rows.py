"""Find the sessions that have locked a partition's ledger or history, so that operators see why the partition waits."""

from datetime import datetime
from typing import NamedTuple

from django.db import connection

from todos.ledger.leases import LEASE_SECONDS

# A worker that stores a batch locks the rows for less than this. A session that waits for its client in the middle of a
# transaction is reported sooner: it may wait forever.
PATIENCE_SECONDS, IDLE_PATIENCE_SECONDS = LEASE_SECONDS, 2.0

# A partition advances by a change of its ledger row and a reference to the last batch of its history. `xmax` is the
# last transaction that locked or changed a row. While it runs, its session has a lock on its id, which every role may
# read in pg_locks; that of a prepared transaction has no pid. Roles without pg_read_all_stats read no times of other
# roles' sessions, so those are not found: each store locks the rows for a moment.
FIND_HELD_ROWS = """
    SELECT l.partition, k.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), a.xact_start
    FROM todos_partitionledger l
    LEFT JOIN todos_batch b ON b.topic = l.topic AND b.partition = l.partition AND b.generation = l.generation
                           AND b.next_offset = l.next_offset
    JOIN pg_locks k ON k.locktype = 'transactionid' AND k.transactionid IN (l.xmax, b.xmax) AND k.mode = 'ExclusiveLock'
    LEFT JOIN pg_stat_activity a ON a.pid = k.pid
    WHERE l.topic = %(topic)s AND (
        k.pid IS NULL OR a.xact_start < now() - %(patience)s * interval '1 second'
        OR (a.state LIKE 'idle in%%' AND a.state_change < now() - %(idle_patience)s * interval '1 second'))
    ORDER BY l.partition
"""


class HeldRow(NamedTuple):
    """A partition whose ledger row, or the end of whose history, a session has locked.

    `pid` is the session's process in PostgreSQL, and `since` when its transaction began. Both are None for a prepared
    transaction.
    """

    partition: int
    pid: int | None
    user: str
    application: str
    since: datetime | None

    def __str__(self) -> str:
        if self.pid is None:
            return "its ledger is locked by a prepared transaction; see pg_prepared_xacts"
        session = f"session {self.pid} of {self.user or 'an unknown user'}"
        session += f" ({self.application})" if self.application else ""
        return f"its ledger is locked by {session}; SELECT pg_terminate_backend({self.pid}) ends it"


def held_rows(topic: str) -> list[HeldRow]:
    """Return the partitions that have been locked for longer than a worker needs. They wait; others do not."""
    parameters: dict[str, str | float] = {
        "topic": topic,
        "patience": PATIENCE_SECONDS,
        "idle_patience": IDLE_PATIENCE_SECONDS,
    }
    with connection.cursor() as cursor:
        cursor.execute(FIND_HELD_ROWS, parameters)
        return [HeldRow(*row) for row in cursor.fetchall()]
