"""Pages of the list of todos, newest first, at a cost that depends neither on the table's size nor on the page.

A condition without an index (a part of the title, "not done") is tested on a window of todos, and the next page
continues after the window. An index for it would slow the ingest by a fifth.

The titles decide what testing one costs. So each search has a time limit, and a client searches once at a time.
"""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple, Self
from uuid import UUID
from zlib import crc32

from django.db import OperationalError, connection, transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import StrIndex, Upper
from django.db.models.lookups import GreaterThan
from psycopg2.errors import QueryCanceled

from edge_api.contract import EARLIEST, LATEST
from todos.models import Todo

SEARCH_SECONDS = 1  # of the statement that searches one window, which ordinary titles need a few milliseconds for
NEWEST_FIRST = ("-created_at", "-id")  # the model's own order
TABLE = f'"{Todo._meta.db_table}"'


class PageCursor(NamedTuple):
    """A position between two todos of the list, newest first; `backwards` asks for the page before it."""

    created_at: datetime
    id: UUID
    backwards: bool

    def encode(self) -> str:
        """Return the cursor as text for a URL."""
        text = f"{'p' if self.backwards else 'n'}{self.created_at.isoformat()}|{self.id}"
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def decode(cls, cursor: str) -> Self:
        """Return the cursor that `encode` wrote. Raises ValueError for any other text."""
        text = base64.urlsafe_b64decode(cursor.encode()).decode()
        created_at, _, todo_id = text[1:].partition("|")
        moment = datetime.fromisoformat(created_at)
        # Within the contract's range no offset from UTC can overflow; PostgreSQL refuses offsets that Python accepts.
        if text[:1] not in {"p", "n"} or moment.tzinfo is None or not EARLIEST <= moment < LATEST:
            raise ValueError("must be a cursor of this list")
        return cls(moment.astimezone(UTC), UUID(todo_id), text[0] == "p")


class SearchRefused(Exception):
    """Raised for a search that returns nothing; the message tells the client what to do."""


class SearchTooSlow(SearchRefused):
    """Testing the window took longer than SEARCH_SECONDS."""


class SearchBusy(SearchRefused):
    """The searcher's search before this one is still running."""


class Search(NamedTuple):
    """A condition without an index, and the number of todos that one page may test.

    Only one search of a `searcher` (an owner, a user or an address) runs at a time; None does not limit them.
    """

    condition: Q
    window: int
    searcher: str | None = None


def title_contains(text: str) -> Q:
    """Return the condition that the title contains the text, in upper or lower case.

    LIKE, which Django's icontains uses, compares by characters. Where titles repeat what the text begins with, it is
    three times slower at the worst.
    """
    return Q(GreaterThan(StrIndex(Upper("title"), Upper(Value(text))), 0))


class Page(NamedTuple):
    """Todos in the direction of reading, with the cursors of the pages ahead and behind; None if there is none.

    `searched_to` is the time at which the window ended, if it ended before the page was full.
    """

    todos: list[Todo]
    ahead: PageCursor | None
    behind: PageCursor | None
    searched_to: datetime | None = None


def read_page(
    todos: QuerySet[Todo],
    cursor: PageCursor | None,
    size: int,
    *,
    search: Search | None = None,
    backwards: bool = False,
) -> Page:
    """Return the page of `size` todos at the cursor, or the first page in the direction of `backwards`.

    `todos` must be ordered newest first, and filtered only by conditions that an index supports. Raises SearchRefused.
    """
    backwards = cursor.backwards if cursor else backwards
    todos_ahead = beyond(todos, cursor, backwards=backwards)
    window = todos_ahead[: search.window] if search else None
    matches = todos_ahead if search is None or window is None else _search(window, search, size + 1)
    rows = list(matches[: size + 1])
    page, more = rows[:size], len(rows) > size

    searched_to = None if more or window is None else _end_of(window, backwards)
    ahead = _cursor_at(page[-1], backwards) if more else _if_followed(todos, searched_to)
    first = next(iter(todos_ahead[:1] if search else page[:1]), None) if cursor else None
    behind = _cursor_at(first, not backwards) if first else None
    return Page(page, ahead, behind, searched_to.created_at if searched_to else None)


def _search(window: QuerySet[Todo], search: Search, size: int) -> Sequence[Todo]:
    """Return the first `size` todos of the window that match, and read no further than necessary.

    The window is a subquery: with a range of created_at instead, the planner might read the whole table.
    """
    matches = _ordered(Todo.objects.filter(search.condition), like=window)[:size]
    (inner, inner_params), (sql, params) = window.query.sql_with_params(), matches.query.sql_with_params()
    sql = sql.replace(f"FROM {TABLE} ", f"FROM ({inner}) {TABLE} ", 1)
    with _limited(search.searcher):
        return list(Todo.objects.raw(sql, [*inner_params, *params]))


@contextmanager
def _limited(searcher: str | None) -> Iterator[None]:
    """Limit the time of each statement in the block, and let one block of a searcher run at a time.

    Raises SearchRefused. PostgreSQL itself ends the statement, which otherwise runs on after its client has gone.
    """
    try:
        with transaction.atomic(), connection.cursor() as database:
            database.execute("SELECT set_config('statement_timeout', %s, true)", [f"{SEARCH_SECONDS}s"])
            if searcher is not None:
                database.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", search_lock(searcher))
                if not database.fetchone()[0]:
                    raise SearchBusy("Another search of yours is running. Try again when it has ended.")
            yield
            database.execute("SET LOCAL statement_timeout TO DEFAULT")  # in case the transaction continues
    except OperationalError as exc:
        if not isinstance(exc.__cause__, QueryCanceled):
            raise
        raise SearchTooSlow(
            f"The search took longer than {SEARCH_SECONDS} s. Narrow it to a shorter time of creation, or try later."
        ) from exc


def search_lock(searcher: str) -> tuple[int, int]:
    """Return the numbers of the searcher's advisory lock. Two searchers that share them are rare, and harm no data."""
    return 0x73656172, crc32(searcher.encode()) - 2**31


def _end_of(window: QuerySet[Todo], backwards: bool) -> PageCursor | None:
    sql, params = window.values_list("created_at", "id").query.sql_with_params()
    order = "DESC" if backwards else "ASC"
    with connection.cursor() as database:
        database.execute(f"SELECT * FROM ({sql}) w ORDER BY created_at {order}, id {order} LIMIT 1", params)  # noqa: S608
        last = database.fetchone()
    return PageCursor(last[0], last[1], backwards) if last else None


def _if_followed(todos: QuerySet[Todo], end: PageCursor | None) -> PageCursor | None:
    """Return the end of a window, or None if the list ends there too."""
    # exists() would drop the order, and might read half of the table to find one todo.
    return end if end and beyond(todos, end).values_list("pk").first() else None


def beyond(todos: QuerySet[Todo], cursor: PageCursor | None, *, backwards: bool = False) -> QuerySet[Todo]:
    """Return the todos on the cursor's far side, nearest first; without a cursor all of them."""
    if cursor:
        backwards, side = cursor.backwards, "gt" if cursor.backwards else "lt"
        todos = todos.filter(_beyond(cursor, side, f"id__{side}"))
    return todos.reverse() if backwards else todos


def _ordered(todos: QuerySet[Todo], *, like: QuerySet[Todo]) -> QuerySet[Todo]:
    todos = todos.order_by(*(like.query.order_by or NEWEST_FIRST))
    return todos if like.query.standard_ordering else todos.reverse()


def _beyond(cursor: PageCursor, side: str, same_moment: str) -> Q:
    # The second condition implies the first, which lets the index scan start at the cursor.
    return Q(**{f"created_at__{side}e": cursor.created_at}) & (
        Q(**{f"created_at__{side}": cursor.created_at}) | Q(created_at=cursor.created_at, **{same_moment: cursor.id})
    )


def _cursor_at(todo: Todo, backwards: bool) -> PageCursor:
    return PageCursor(todo.created_at, todo.id, backwards)
