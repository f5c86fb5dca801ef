"""The list of todos at a price that grows neither with the table nor with the page: no COUNT, no OFFSET, no numbers.

A search by title, and the filter "not done", have no index: one would slow the ingest by a fifth. They look through a
window of the newest todos, and "older" goes on behind it. The date hierarchy jumps.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest

from todos.admin.base import ChangeList
from todos.keyset import Position, beyond, up_to
from todos.models import Todo

WINDOW = 100_000
CHUNK = 2_000


class DoneFilter(SimpleListFilter):
    title = "done"
    parameter_name = "done"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Done"), ("no", "Not done")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Done ones have an index; the list itself looks for others."""
        return queryset.filter(is_done=True) if self.value() == "yes" else queryset


class OwnerFilter(SimpleListFilter):
    """An exact match: to offer all owners would read the whole table. Each owner in the list leads here."""

    title = parameter_name = "owner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        asked = request.GET.get(self.parameter_name)
        return [(asked, name_of(asked) or asked)] if asked else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(owner=self.value()) if self.value() else queryset


def name_of(owner: str) -> str:
    """Of the user whose todos are owned by that; empty where it is none's of this database."""
    is_key = owner.isascii() and owner.isdecimal() and len(owner) < 19
    return str(User.objects.filter(pk=owner).values_list("username", flat=True).first() or "") if is_key else ""


class Pages(Paginator):
    template_name = "admin/todos/todo/pages.html"


class TodoList(ChangeList):
    """`newer` and `older` are the query strings of the next pages, empty without any."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Todo]:
        """All that is asked for, as an action on the whole list takes it."""
        asked, self.query = self.query, ""
        self.indexed: QuerySet[Todo] = super().get_queryset(request, exclude_parameters)
        self.query = asked
        return self._matching(self.indexed)

    def get_results(self, request: HttpRequest) -> None:
        position = _position(request)
        backwards = position is not None and position.backwards
        window = self._window(position, backwards)
        found = beyond(self._matching(self.indexed), position)
        rows = list((up_to(found, window[1]) if window else found)[: self.list_per_page + 1])
        page = rows[: self.list_per_page]

        ahead = self._ahead(page, window, backwards, more=len(rows) > len(page))
        start = window[0] if window else _at(page[0], backwards) if page else None
        behind = start._replace(backwards=not backwards) if start and position else None
        self.result_list = page[::-1] if backwards else page
        self.older, self.newer = map(self._link, (behind, ahead) if backwards else (ahead, behind))
        self.searched_to = window[1].created_at if window and len(rows) == len(page) else None
        self._settle(is_whole=not position and not ahead)

    def _matching(self, todos: QuerySet[Todo]) -> QuerySet[Todo]:
        if self._id:
            return todos.filter(pk=self._id)
        if self.query:
            todos = todos.filter(title__icontains=self.query)
        return todos.filter(is_done=False) if self.params.get(DoneFilter.parameter_name) == "no" else todos

    @cached_property
    def _id(self) -> UUID | None:
        try:
            return UUID(self.query.strip())
        except ValueError:
            return None

    def _window(self, position: Position | None, backwards: bool) -> tuple[Position, Position] | None:
        """The first and the last todo to look at; None where an index finds the page, or nothing is there."""
        is_slow = self.query or self.params.get(DoneFilter.parameter_name) == "no"
        if self._id or not is_slow:
            return None
        window = beyond(self.indexed, position)
        sql, params = window.values_list("created_at", "id")[:WINDOW].query.sql_with_params()
        order = "DESC" if backwards else "ASC"
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM ({sql}) w ORDER BY created_at {order}, id {order} LIMIT 1", params)  # noqa: S608
            last = cursor.fetchone()
        first = next(iter(window[:1]), None)
        return (_at(first, backwards), Position(last[0], last[1], backwards)) if first and last else None

    def _ahead(
        self, page: list[Todo], window: tuple[Position, Position] | None, backwards: bool, *, more: bool
    ) -> Position | None:
        """Where the window ends, not the list, the next page begins behind the window."""
        if more:
            return _at(page[-1], backwards)
        return window[1] if window and beyond(self.indexed, window[1]).exists() else None

    def _link(self, position: Position | None) -> str:
        return self.get_query_string({PAGE_VAR: position.encode()}) if position else ""

    def _settle(self, *, is_whole: bool) -> None:
        """What the templates of the admin ask a list for."""
        self.queryset = self.indexed  # of the date hierarchy, which finds its periods by an index
        self.paginator = Pages([], self.list_per_page)
        shown = len(self.result_list)
        self.is_whole = is_whole
        self.result_count = shown if is_whole else max(planned_rows(self.indexed), shown + 1)
        self.full_result_count, self.show_full_result_count = self.result_count, False
        self.show_admin_actions = True
        self.can_show_all, self.multi_page = False, not is_whole


def _position(request: HttpRequest) -> Position | None:
    if not (cursor := request.GET.get(PAGE_VAR)):
        return None
    try:
        return Position.decode(cursor)
    except (ValueError, IndexError) as exc:
        raise IncorrectLookupParameters(str(exc)) from exc


def _at(todo: Todo, backwards: bool) -> Position:
    return Position(todo.created_at, todo.id, backwards)


def planned_rows(todos: QuerySet[Any]) -> int:
    """PostgreSQL's own estimate, which costs no more than a plan."""
    (plan,) = json.loads(todos.order_by().explain(format="json"))
    return int(plan["Plan"]["Plan Rows"])


def each_chunk(todos: QuerySet[Todo]) -> Iterator[list[Todo]]:
    """All of them, newest first, in constant memory.

    No cursor of the database: its transaction would stay open for as long as somebody downloads.
    """
    position = None
    while chunk := list(beyond(todos, position)[:CHUNK]):
        yield chunk
        position = _at(chunk[-1], backwards=False)
