"""Todos as the ingest would have stored them, and a table that refuses some of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import connection

from todos.models import Todo

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_todos(count: int, *, apart: timedelta = timedelta(seconds=1), title: str = "todo") -> list[Todo]:
    """Numbered todos, the newest last."""
    return Todo.objects.bulk_create(
        Todo(
            id=UUID(int=number + 1),
            title=f"{title} {number}",
            created_at=START + number * apart,
            source_partition=0,
            source_offset=number,
        )
        for number in range(count)
    )


@contextmanager
def constraint(check: str) -> Iterator[None]:
    """As a migration might have left it behind: rows that were there before are not checked."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE todos_todo ADD CONSTRAINT strict CHECK ({check}) NOT VALID")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE todos_todo DROP CONSTRAINT strict")
