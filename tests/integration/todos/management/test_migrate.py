"""A change of the schema waits for a lock briefly, lets the others pass and tries again."""

import io
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection

from devstack import Postgres
from todos.management.commands import migrate

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def before_the_last_columns(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without the column that 0012 adds to the todos."""
    monkeypatch.setattr(migrate, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", "100ms")
    call_command("migrate", "todos", "0011", verbosity=0)
    yield
    call_command("migrate", verbosity=0)


@pytest.fixture
def batch(postgres: Postgres) -> Iterator[psycopg2.extensions.connection]:
    """An open transaction that has stored todos."""
    name = str(connection.settings_dict["NAME"])
    with closing(psycopg2.connect(postgres.database_url(name))) as database, database.cursor() as cursor:
        cursor.execute("LOCK TABLE todos_todo IN ROW EXCLUSIVE MODE")
        yield database


def test_it_tries_again_until_it_gets_the_lock(
    batch: psycopg2.extensions.connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todos.management.commands.migrate.time.sleep", lambda _: batch.rollback())
    err = io.StringIO()

    call_command("migrate", stdout=io.StringIO(), stderr=err)

    assert "no lock within 100ms: trying again" == err.getvalue().strip().removeprefix("the table is in use, ")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(fingerprint), current_setting('lock_timeout') FROM todos_todo")
        assert (0, "0") == cursor.fetchone()


def test_it_gives_up_when_the_lock_never_comes(
    batch: psycopg2.extensions.connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "TRIES", 2)
    err = io.StringIO()
    try:
        with pytest.raises(OperationalError, match="lock timeout"):
            call_command("migrate", stdout=io.StringIO(), stderr=err)
    finally:
        batch.rollback()

    assert 1 == err.getvalue().count("trying again")
