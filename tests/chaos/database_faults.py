"""PostgreSQL is shut down hard, slow, locked, read-only or full; or it is lost, and an older dump comes back."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg2

from devstack.postgres import tool_command
from tests.chaos.world import TABLESPACE_BYTES, World, resize_disk, running
from tests.support.stack import create_database, query
from tests.support.waiting import eventually

SHUTDOWN_SECONDS = 20.0
FULL_SECONDS = 30.0
SLOW_SECONDS = 1.5
TODOS_SINCE_DUMP, SINCE_DUMP_SECONDS = 50, 60.0

MAKE_SLOW = f"""
    CREATE OR REPLACE FUNCTION chaos_slow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep({SLOW_SECONDS}); RETURN NULL; END $$;
    CREATE TRIGGER chaos_slow AFTER INSERT ON todos_todo FOR EACH STATEMENT EXECUTE FUNCTION chaos_slow()
"""
HOLD_ROW = "SELECT FROM todos_partitionledger WHERE topic = %s AND partition = %s FOR UPDATE"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


@contextmanager
def immediate_shutdown(world: World) -> Iterator[None]:
    """What `pg_ctl stop -m immediate` sends: no checkpoint, clients are cut off, recovery at the next start."""
    postgres = world.services.postgres
    running(postgres.process).send_signal(signal.SIGQUIT)
    postgres.process.wait(SHUTDOWN_SECONDS)
    yield
    postgres.start()


@contextmanager
def terminate_sessions(world: World) -> Iterator[None]:
    world.stack.rows(TERMINATE, world.stack.name)
    yield


@contextmanager
def slow(world: World) -> Iterator[None]:
    world.stack.rows(MAKE_SLOW)
    yield
    world.stack.rows("DROP TRIGGER chaos_slow ON todos_todo")


@contextmanager
def locked(world: World) -> Iterator[None]:
    """Nobody can insert todos; sometimes for longer than the ingest's lock time-out."""
    with closing(psycopg2.connect(world.stack.database_url)) as database, database.cursor() as cursor:
        cursor.execute("LOCK TABLE todos_todo IN SHARE MODE")
        yield


@contextmanager
def held_row(world: World) -> Iterator[None]:
    """A forgotten session holds one partition's row of the ledger. Only that partition waits."""
    topic, partition = world.stack.kafka.topic, world.rng.choice(sorted(world.stack.ledger()))
    session = psycopg2.connect(world.stack.database_url, application_name="a forgotten psql")
    with closing(session), session.cursor() as cursor:
        cursor.execute(HOLD_ROW, (topic, partition))
        world.wait_for_others(partition)
        yield


@contextmanager
def read_only(world: World) -> Iterator[None]:
    """Every new transaction is read-only, as on a standby."""
    world.stack.rows("ALTER SYSTEM SET default_transaction_read_only = on")
    world.stack.rows("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        world.stack.rows("ALTER SYSTEM RESET default_transaction_read_only")
        world.stack.rows("SELECT pg_reload_conf()")


@contextmanager
def full_disk(world: World) -> Iterator[None]:
    assert world.disk, "the run was set up without a disk"
    log = world.services.postgres.directory / "postgres.log"
    start = log.stat().st_size

    def is_full() -> bool:
        return b"No space left on device" in log.read_bytes()[start:]

    used = psutil.disk_usage(str(world.disk)).used
    resize_disk(world.disk, used)
    try:
        eventually(is_full, seconds=FULL_SECONDS, what="PostgreSQL to find its disk full")
        yield
    finally:
        resize_disk(world.disk, TABLESPACE_BYTES)


@contextmanager
def restore(world: World) -> Iterator[None]:
    """Dumped under load; when more todos are stored the database is lost, and restored from the dump as it was then.

    Nothing is stopped meanwhile: a restore in one transaction shows workers either no tables, or all there was.
    """
    stack, admin_url = world.stack, world.services.postgres.database_url("postgres")
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder, "todo.dump")
        _tool("pg_dump", "--format=custom", f"--file={dump}", stack.database_url)
        dumped_at = time.time()
        eventually(
            lambda: world.journal.visible(dumped_at) >= TODOS_SINCE_DUMP,
            seconds=SINCE_DUMP_SECONDS,
            what=f"{TODOS_SINCE_DUMP} todos since the dump",
        )
        query(admin_url, f"DROP DATABASE {stack.name} WITH (FORCE)")
        yield
        create_database(world.services.postgres, stack.name)
        _tool("pg_restore", "--single-transaction", "--exit-on-error", f"--dbname={stack.database_url}", str(dump))
    stored = stack.rows("SELECT id::text FROM todos_todo")
    world.journal.unsee({todo_id for (todo_id,) in stored})


def _tool(name: str, *arguments: str) -> None:
    done = subprocess.run(tool_command(name, *arguments), capture_output=True, text=True, check=False)
    assert not done.returncode, f"{name}: {done.stderr}"
