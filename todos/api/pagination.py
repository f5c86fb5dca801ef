"""Cursor pagination whose price does not depend on the page."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from todos.api.query import OLDEST_FIRST, ListQuery, indexed, search
from todos.models import Todo
from todos.selectors import Position, read_page


class KeysetPagination(CursorPagination):
    """DRF's cursor pagination, over the pair (created_at, id).

    DRF's own cursor is a created_at and a count; it goes astray where more than 1,000 todos share a created_at,
    as bulk producers make them.
    """

    def paginate_queryset(self, queryset: QuerySet[Todo], request: Request, view: Any = None) -> list[Todo]:  # type: ignore[override]
        query = ListQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked, self.request = query.validated_data, request
        position, upwards = asked.get("cursor"), asked["ordering"] == OLDEST_FIRST
        todos, size = indexed(queryset, asked), asked["page_size"]
        page = read_page(todos, position, size, search=search(asked), backwards=upwards)
        # A list with the oldest first is the same list, read from its other end.
        turned = position is not None and position.backwards is not upwards
        self._next, self._previous = (page.behind, page.ahead) if turned else (page.ahead, page.behind)
        self.has_next, self.has_previous = self._next is not None, self._previous is not None
        self.page: list[Todo] = page.todos[::-1] if turned else page.todos
        return self.page

    def get_next_link(self) -> str | None:
        return self._link(self._next)

    def get_previous_link(self) -> str | None:
        return self._link(self._previous)

    def _link(self, position: Position | None) -> str | None:
        if position is None:
            return None
        return replace_query_param(self.request.build_absolute_uri(), self.cursor_query_param, position.encode())
