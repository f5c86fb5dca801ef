"""Pages of the list of todos, newest first, whose price does not depend on how far back they are."""

import base64
from datetime import UTC, datetime
from typing import NamedTuple, Self
from uuid import UUID

from django.db.models import Q, QuerySet

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
        created_at, _, todo_id = text[1:].partition("|")
        moment = datetime.fromisoformat(created_at)
        # Within the contract's range no offset from UTC can overflow; PostgreSQL refuses offsets that Python takes.
        if text[0] not in "pn" or moment.tzinfo is None or not EARLIEST <= moment < LATEST:
            raise ValueError("not a cursor of ours")
        return cls(moment.astimezone(UTC), UUID(todo_id), text[0] == "p")


def beyond(queryset: QuerySet[Todo], position: Position | None) -> QuerySet[Todo]:
    """The todos after the position, or before it, nearest first."""
    if position is None:
        return queryset.order_by("-created_at", "-id")
    side, order = ("gt", ("created_at", "id")) if position.backwards else ("lt", ("-created_at", "-id"))
    return queryset.filter(_side(position, side, f"id__{side}")).order_by(*order)


def up_to(queryset: QuerySet[Todo], last: Position) -> QuerySet[Todo]:
    """Those on the way to `last`, which is among them."""
    side = "lt" if last.backwards else "gt"
    return queryset.filter(_side(last, side, f"id__{side}e"))


def _side(place: Position, side: str, same_moment: str) -> Q:
    # The first condition is implied by the second, and lets the index start at the right place.
    return Q(**{f"created_at__{side}e": place.created_at}) & (
        Q(**{f"created_at__{side}": place.created_at}) | Q(created_at=place.created_at, **{same_moment: place.id})
    )
