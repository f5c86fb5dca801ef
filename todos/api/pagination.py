"""Cursor pagination whose price does not depend on the page."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.db.models import Q, QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from edge_api.contract import EARLIEST, LATEST
from todos.models import Todo


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
        created_at, todo_id = text[1:].split("|")
        moment = datetime.fromisoformat(created_at)
        # Within the contract's range no offset from UTC can overflow; PostgreSQL refuses offsets that Python takes.
        if text[0] not in "pn" or moment.tzinfo is None or not EARLIEST <= moment < LATEST:
            raise ValueError("not a cursor of ours")
        return cls(moment.astimezone(UTC), UUID(todo_id), text[0] == "p")


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
        rows = list(_beyond(queryset, position)[: size + 1])
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


def _beyond(queryset: QuerySet[Todo], position: Position | None) -> QuerySet[Todo]:
    if position is None:
        return queryset.order_by("-created_at", "-id")
    side, order = ("gt", ("created_at", "id")) if position.backwards else ("lt", ("-created_at", "-id"))
    same_moment = Q(created_at=position.created_at, **{f"id__{side}": position.id})
    # The first condition is implied by the second, and lets the index start at the right place.
    return (
        queryset.filter(**{f"created_at__{side}e": position.created_at})
        .filter(Q(**{f"created_at__{side}": position.created_at}) | same_moment)
        .order_by(*order)
    )
