"""Pages of the list of todos, newest first, whose price depends neither on the table nor on how far back they are.

What has no index (a part of a title, "not done") is looked for in a window of so many todos; the next page goes on
behind it. An index for it would slow the ingest by a fifth.
"""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Self
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from edge_api.contract import EARLIEST, LATEST
from todos.models import Todo

NEWEST_FIRST = ("-created_at", "-id")  # the model's own order
TABLE = f'"{Todo._meta.db_table}"'


class Position(NamedTuple):
    """A place between two todos of the list, newest first; `backwards` asks for the page before it."""

    created_at: datetime
    id: UUID
    backwards: bool

    def encode(self) -> str:
        text = f"{'p' if self.backwards else 'n'}{self.created_at.isoformat()}|{self.id}"
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def decode(cls, cursor: str) -> Self:
        """Raises ValueError."""
        text = base64.urlsafe_b64decode(cursor.encode()).decode()
        created_at, _, todo_id = text[1:].partition("|")
        moment = datetime.fromisoformat(created_at)
        # Within the contract's range no offset from UTC can overflow; PostgreSQL refuses offsets that Python takes.
        if text[0] not in "pn" or moment.tzinfo is None or not EARLIEST <= moment < LATEST:
            raise ValueError("not a cursor of ours")
        return cls(moment.astimezone(UTC), UUID(todo_id), text[0] == "p")


class Search(NamedTuple):
    """A condition without an index, and how many todos one page may look at for it."""

    condition: Q
    window: int


class Page(NamedTuple):
    """Todos in the direction of reading; where to go on, and where to turn back, with None where nothing is there.

    `searched_to` is where the window ended, if it did so before the page was full.
    """

    todos: list[Todo]
    ahead: Position | None
    behind: Position | None
    searched_to: datetime | None = None


def read_page(
    todos: QuerySet[Todo],
    position: Position | None,
    size: int,
    *,
    search: Search | None = None,
    backwards: bool = False,
) -> Page:
    """`todos` are newest first, and have an index for it; `backwards` is the direction where there is no position."""
    backwards = position.backwards if position else backwards
    todos_ahead = beyond(todos, position, backwards=backwards)
    window = todos_ahead[: search.window] if search else None
    found = todos_ahead if search is None or window is None else _search(window, search.condition, size + 1)
    rows = list(found[: size + 1])
    page, more = rows[:size], len(rows) > size

    searched_to = None if more or window is None else _last(window, backwards)
    ahead = _at(page[-1], backwards) if more else _if_followed(todos, searched_to)
    start = next(iter(todos_ahead[:1] if search else page[:1]), None) if position else None
    behind = _at(start, not backwards) if start else None
    return Page(page, ahead, behind, searched_to.created_at if searched_to else None)


def _search(window: QuerySet[Todo], condition: Q, size: int) -> Sequence[Todo]:
    """The first of the window for which the condition holds; reads on only as long as it has too few of them.

    A range of created_at instead of the subquery would be the planner's to judge, and it might read the whole table.
    """
    found = _ordered(Todo.objects.filter(condition), like=window)[:size]
    (inner, inner_params), (sql, params) = window.query.sql_with_params(), found.query.sql_with_params()
    sql = sql.replace(f"FROM {TABLE} ", f"FROM ({inner}) {TABLE} ", 1)
    return list(Todo.objects.raw(sql, [*inner_params, *params]))


def _last(window: QuerySet[Todo], backwards: bool) -> Position | None:
    sql, params = window.values_list("created_at", "id").query.sql_with_params()
    order = "DESC" if backwards else "ASC"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({sql}) w ORDER BY created_at {order}, id {order} LIMIT 1", params)  # noqa: S608
        last = cursor.fetchone()
    return Position(last[0], last[1], backwards) if last else None


def _if_followed(todos: QuerySet[Todo], end: Position | None) -> Position | None:
    """The end of a window, unless that is the end of the list."""
    # Not exists(), which forgets the order, and may read half the table to find one.
    return end if end and beyond(todos, end).values_list("pk").first() else None


def beyond(queryset: QuerySet[Todo], position: Position | None, *, backwards: bool = False) -> QuerySet[Todo]:
    """The todos after the position, or before it, nearest first; without a position all, from one end."""
    if position:
        backwards, side = position.backwards, "gt" if position.backwards else "lt"
        queryset = queryset.filter(_side(position, side, f"id__{side}"))
    return queryset.reverse() if backwards else queryset


def _ordered(todos: QuerySet[Todo], *, like: QuerySet[Todo]) -> QuerySet[Todo]:
    todos = todos.order_by(*(like.query.order_by or NEWEST_FIRST))
    return todos if like.query.standard_ordering else todos.reverse()


def _side(place: Position, side: str, same_moment: str) -> Q:
    # The first condition is implied by the second, and lets the index start at the right place.
    return Q(**{f"created_at__{side}e": place.created_at}) & (
        Q(**{f"created_at__{side}": place.created_at}) | Q(created_at=place.created_at, **{same_moment: place.id})
    )


def _at(todo: Todo, backwards: bool) -> Position:
    return Position(todo.created_at, todo.id, backwards)
