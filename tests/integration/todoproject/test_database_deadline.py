"""The web process waits for a silent database for a bounded time only."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.db import OperationalError, connection
from psycopg2 import extensions

from devstack.environment import ROOT
from todoproject.database_deadline import limit_statements

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def limit() -> Iterator[None]:
    limit_statements(0.3)
    yield
    extensions.set_wait_callback(None)


def run(sql: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


@pytest.mark.usefixtures("limit")
def test_a_statement_without_an_answer_ends_and_the_next_one_connects_anew() -> None:
    with pytest.raises(OperationalError, match=r"did not answer within 0\.3 s"):
        run("SELECT pg_sleep(30)")
    connection.close()
    assert [(100_000,)] == run("SELECT count(*) FROM generate_series(1, 100000)")


def test_the_web_process_has_the_limit() -> None:
    code = "import todoproject.wsgi; from psycopg2 import extensions; print(extensions.get_wait_callback())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "wait" in done.stdout
