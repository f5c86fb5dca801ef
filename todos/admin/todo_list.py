"""The list of todos at a price that grows neither with the table nor with the page: no COUNT, no OFFSET, no numbers.

A search by title, and the filter "not done", have no index: they look through a window of the newest todos, and "older"
goes on behind it. The date hierarchy jumps.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from todos.admin.base import ChangeList
from todos.models import Todo
from todos.selectors import NEWEST_FIRST, Position, Search, read_page

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


class Sought(NamedTuple):
    """`todos` have an index in the list's order; `search` looks among them for what has none."""

    todos: QuerySet[Todo]
    search: Search | None = None


class TodoList(ChangeList):
    """`newer` and `older` are the query strings of the next pages, empty without any."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Todo]:
        """All that is asked for, as an action on the whole list takes it."""
        asked, self.query = self.query, ""
        self.indexed: QuerySet[Todo] = super().get_queryset(request, exclude_parameters).order_by(*NEWEST_FIRST)
        self.query = asked
        return self._matching(self.indexed)

    def get_results(self, request: HttpRequest) -> None:
        position = _position(request)
        page = read_page(self.sought.todos, position, self.list_per_page, search=self.sought.search)
        backwards = position is not None and position.backwards
        self.result_list = page.todos[::-1] if backwards else page.todos
        links = (page.behind, page.ahead) if backwards else (page.ahead, page.behind)
        self.older, self.newer = map(self._link, links)
        self.searched_to = page.searched_to
        self._settle(is_whole=not position and not page.ahead)

    @property
    def sought(self) -> "Sought":
        """All that is asked for, as a page of it is found."""
        if self._is_slow:
            return Sought(self.indexed, Search(self._condition, WINDOW))
        return Sought(self._matching(self.indexed))

    def _matching(self, todos: QuerySet[Todo]) -> QuerySet[Todo]:
        return todos.filter(pk=self._id) if self._id else todos.filter(self._condition)

    @property
    def _condition(self) -> Q:
        condition = Q(title__icontains=self.query) if self.query else Q()
        return condition & Q(is_done=False) if self._only_open else condition

    @property
    def _only_open(self) -> bool:
        return self.params.get(DoneFilter.parameter_name) == "no"

    @property
    def _is_slow(self) -> bool:
        """No index finds the page."""
        return bool(not self._id and (self.query or self._only_open))

    @cached_property
    def _id(self) -> UUID | None:
        try:
            return UUID(self.query.strip())
        except ValueError:
            return None

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


def planned_rows(todos: QuerySet[Any]) -> int:
    """PostgreSQL's own estimate, which costs no more than a plan."""
    (plan,) = json.loads(todos.order_by().explain(format="json"))
    return int(plan["Plan"]["Plan Rows"])


def each_chunk(sought: Sought) -> Iterator[list[Todo]]:
    """All of them, newest first, in constant memory; a chunk is empty where a window of the search is.

    No cursor of the database: its transaction would stay open for as long as somebody downloads. Nor one statement for
    all of a search: in a large table it would take longer than a statement may.
    """
    page = read_page(sought.todos, None, CHUNK, search=sought.search)
    yield page.todos
    while page.ahead:
        page = read_page(sought.todos, page.ahead, CHUNK, search=sought.search)
        yield page.todos
