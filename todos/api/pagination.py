"""Pages of GET /api/todos/, at a cost that does not depend on the page."""

from http import HTTPStatus
from typing import Any

from django.db.models import Q, QuerySet
from rest_framework.exceptions import APIException
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from todos.api.query import OLDEST_FIRST, ListQuery
from todos.clients import client_address
from todos.models import Todo
from todos.owners import request_owner
from todos.selectors import PageCursor, Search, SearchBusy, SearchTooSlow, read_page, title_contains

WINDOW = 10_000  # todos that one page of a search tests: about 10 ms


class TooManySearches(APIException):
    status_code = HTTPStatus.TOO_MANY_REQUESTS
    wait = 1  # seconds, for Retry-After


class SearchUnavailable(APIException):
    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    wait = 5  # seconds, for Retry-After


class KeysetPagination(CursorPagination):
    """DRF's cursor pagination over the pair (created_at, id).

    DRF's own cursor is a created_at and a count. It skips todos if more than 1,000 share a created_at, as those of a
    bulk producer may.
    """

    def paginate_queryset(self, queryset: QuerySet[Todo], request: Request, view: Any = None) -> list[Todo]:  # type: ignore[override]
        query = ListQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        params, self.request = query.validated_data, request
        cursor, oldest_first = params.get("cursor"), params["ordering"] == OLDEST_FIRST
        todos, search = _filter_indexed(queryset, params), _search(params, request)
        try:
            page = read_page(todos, cursor, params["page_size"], search=search, backwards=oldest_first)
        except SearchBusy as exc:
            raise TooManySearches(str(exc)) from exc
        except SearchTooSlow as exc:
            raise SearchUnavailable(str(exc)) from exc
        # The list with the oldest first is the same list, read from its other end.
        turned = cursor is not None and cursor.backwards is not oldest_first
        self._next, self._previous = (page.behind, page.ahead) if turned else (page.ahead, page.behind)
        self.has_next, self.has_previous = self._next is not None, self._previous is not None
        self.page: list[Todo] = page.todos[::-1] if turned else page.todos
        return self.page

    def get_next_link(self) -> str | None:
        return self._link(self._next)

    def get_previous_link(self) -> str | None:
        return self._link(self._previous)

    def _link(self, cursor: PageCursor | None) -> str | None:
        if cursor is None:
            return None
        return replace_query_param(self.request.build_absolute_uri(), self.cursor_query_param, cursor.encode())


def _filter_indexed(todos: QuerySet[Todo], params: dict[str, Any]) -> QuerySet[Todo]:
    """Apply the conditions that an index supports."""
    if "created_after" in params:
        todos = todos.filter(created_at__gte=params["created_after"])
    if "created_before" in params:
        todos = todos.filter(created_at__lt=params["created_before"])
    return todos.filter(is_done=True) if params.get("is_done") else todos


def _search(params: dict[str, Any], request: Request) -> Search | None:
    """Return the other conditions. Without sign-in, the searcher is the client's address."""
    text = params.get("search")
    condition = title_contains(text) if text else Q()
    if params.get("is_done") is False:
        condition &= Q(is_done=False)
    searcher = (request_owner(request) or client_address(request._request)) if text else None
    return Search(condition, WINDOW, searcher) if condition else None
