"""Cursor pagination whose price does not depend on the page."""

import binascii
from typing import Any

from django.db.models import QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from todos.keyset import Position, beyond
from todos.models import Todo


class KeysetPagination(CursorPagination):
    """DRF's cursor pagination, over the pair (created_at, id).

    DRF's own cursor is a created_at and a count; it goes astray where more than 1,000 todos share a created_at,
    as bulk producers make them.
    """

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 1000
    ordering = ("-created_at", "-id")

    def paginate_queryset(self, queryset: QuerySet[Todo], request: Request, view: Any = None) -> list[Todo]:  # type: ignore[override]
        self.request = request
        size = self.get_page_size(request) or self.page_size
        position = self._position(request)
        backwards = position is not None and position.backwards
        rows = list(beyond(queryset, position)[: size + 1])
        more, page = len(rows) > size, rows[:size]
        self.page: list[Todo] = page[::-1] if backwards else page
        # Where we came from has a page for sure; ahead there is one if a row was left over.
        self.has_next = bool(page) and (backwards or more)
        self.has_previous = bool(page) and (more if backwards else position is not None)
        return self.page

    def get_next_link(self) -> str | None:
        return self._link(self.page[-1], backwards=False) if self.has_next else None

    def get_previous_link(self) -> str | None:
        return self._link(self.page[0], backwards=True) if self.has_previous else None

    def _position(self, request: Request) -> Position | None:
        cursor = request.query_params.get(self.cursor_query_param)
        if not cursor:
            return None
        try:
            return Position.decode(cursor)
        except (ValueError, IndexError, binascii.Error):
            raise NotFound(self.invalid_cursor_message) from None

    def _link(self, todo: Todo, *, backwards: bool) -> str:
        cursor = Position(todo.created_at, todo.id, backwards).encode()
        return replace_query_param(self.request.build_absolute_uri(), self.cursor_query_param, cursor)
