"""The list of todos at a cost that grows neither with the table nor with the page: no COUNT, no OFFSET.

A search by title and the filter "not done" have no index. They search a window of the newest todos, and "Older"
continues after the window. The date hierarchy jumps to any time.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from todos.admin.base import ChangeList
from todos.models import Todo
from todos.owners import username_of
from todos.selectors import (
    NEWEST_FIRST,
    Page,
    PageCursor,
    Search,
    SearchRefused,
    SearchTooSlow,
    read_page,
    title_contains,
)

WINDOW = 100_000  # todos that one page of a search tests
MIN_WINDOW = 100  # where the titles are slow to test
CHUNK = 2_000  # todos that an action loads at a time


class DoneFilter(SimpleListFilter):
    """Filters by is_done. An index supports "done"; the list searches for "not done" itself."""

    title = "done"
    parameter_name = "done"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Done"), ("no", "Not done")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(is_done=True) if self.value() == "yes" else queryset


class OwnerFilter(SimpleListFilter):
    """Filters by one owner, the target of the links in the list. Listing all owners would read the whole table."""

    title = parameter_name = "owner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        owner = request.GET.get(self.parameter_name)
        return [(owner, username_of(owner) or owner)] if owner else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(owner=self.value()) if self.value() else queryset


class OlderNewerPaginator(Paginator):
    """Renders the links to the next pages instead of page numbers."""

    template_name = "admin/todos/todo/pages.html"


class TodoQuery(NamedTuple):
    """Todos in the list's order, narrowed by conditions with an index, and the search for those without one."""

    todos: QuerySet[Todo]
    search: Search | None = None


class TodoList(ChangeList):
    """A page of the list; `newer` and `older` are the query strings of its neighbours, empty if there are none."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Todo]:
        """Return all todos of the list as one query set, for the actions on selected todos."""
        query, self.query = self.query, ""
        self.indexed: QuerySet[Todo] = super().get_queryset(request, exclude_parameters).order_by(*NEWEST_FIRST)
        self.query = query
        return self._matching(self.indexed)

    def get_results(self, request: HttpRequest) -> None:
        cursor, query = _cursor(request), self.todo_query
        if query.search and self.query:
            query = query._replace(search=query.search._replace(searcher=f"user {request.user.pk}"))
        try:
            page = _read_page(query, cursor, self.list_per_page)
        except SearchRefused as exc:
            messages.error(request, str(exc))
            page = Page([], None, None)
        backwards = cursor is not None and cursor.backwards
        self.result_list = page.todos[::-1] if backwards else page.todos
        links = (page.behind, page.ahead) if backwards else (page.ahead, page.behind)
        self.older, self.newer = map(self._link, links)
        self.searched_to = page.searched_to
        self._set_template_variables(is_whole=not cursor and not page.ahead)

    @property
    def todo_query(self) -> TodoQuery:
        """All todos of the list, in the form that read_page takes."""
        if self._needs_search:
            return TodoQuery(self.indexed, Search(self._condition, WINDOW))
        return TodoQuery(self._matching(self.indexed))

    def _matching(self, todos: QuerySet[Todo]) -> QuerySet[Todo]:
        return todos.filter(pk=self._id) if self._id else todos.filter(self._condition)

    @property
    def _condition(self) -> Q:
        condition = title_contains(self.query) if self.query else Q()
        return condition & Q(is_done=False) if self._only_open else condition

    @property
    def _only_open(self) -> bool:
        return self.params.get(DoneFilter.parameter_name) == "no"

    @property
    def _needs_search(self) -> bool:
        return bool(not self._id and (self.query or self._only_open))

    @cached_property
    def _id(self) -> UUID | None:
        try:
            return UUID(self.query.strip())
        except ValueError:
            return None

    def _link(self, cursor: PageCursor | None) -> str:
        return self.get_query_string({PAGE_VAR: cursor.encode()}) if cursor else ""

    def _set_template_variables(self, *, is_whole: bool) -> None:
        """Set what the admin's templates expect of a list."""
        self.queryset = self.indexed  # for the date hierarchy, which finds its periods by an index
        self.paginator = OlderNewerPaginator([], self.list_per_page)
        shown = len(self.result_list)
        self.is_whole = is_whole
        self.result_count = shown if is_whole else max(_estimated_rows(self.indexed), shown + 1)
        self.full_result_count, self.show_full_result_count = self.result_count, False
        self.show_admin_actions = True
        self.can_show_all, self.multi_page = False, not is_whole


def _cursor(request: HttpRequest) -> PageCursor | None:
    if not (text := request.GET.get(PAGE_VAR)):
        return None
    try:
        return PageCursor.decode(text)
    except ValueError as exc:
        raise IncorrectLookupParameters(str(exc)) from exc


def _estimated_rows(todos: QuerySet[Any]) -> int:
    """Return the planner's estimate, which reads no row."""
    (plan,) = json.loads(todos.order_by().explain(format="json"))
    return int(plan["Plan"]["Plan Rows"])


def read_chunks(query: TodoQuery) -> Iterator[list[Todo]]:
    """Yield all todos in chunks, newest first, in constant memory. A chunk is empty if its window has no match.

    Each chunk is a statement of its own. A database cursor would keep its transaction open during a whole download,
    and one statement for a search in a large table would exceed the statement time-out. A window that takes too long
    is narrowed for the rest. Raises SearchTooSlow if one of MIN_WINDOW does.
    """
    cursor = None
    while True:
        try:
            page = read_page(query.todos, cursor, CHUNK, search=query.search)
        except SearchTooSlow:
            if query.search and query.search.window <= MIN_WINDOW:
                raise
            query = _narrowed(query)
            continue
        yield page.todos
        if not (cursor := page.ahead):
            return


def _read_page(query: TodoQuery, cursor: PageCursor | None, size: int) -> Page:
    """Read a page; where the titles of a window take too long, a window of a tenth. Raises SearchRefused."""
    try:
        return read_page(query.todos, cursor, size, search=query.search)
    except SearchTooSlow:
        return read_page(query.todos, cursor, size, search=_narrowed(query).search)


def _narrowed(query: TodoQuery) -> TodoQuery:
    assert query.search  # noqa: S101 - for mypy: only a search is slow
    return query._replace(search=query.search._replace(window=max(query.search.window // 10, MIN_WINDOW)))
