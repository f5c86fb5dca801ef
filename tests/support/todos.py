"""Todos as the ingest would have stored them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

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
