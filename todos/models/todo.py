"""The todo and its queries."""

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Literal, Self

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from edge_api.contract import DESCRIPTION_MAX, OWNER_MAX, TITLE_MAX
from edge_api.contract.headers import FINGERPRINT_LENGTH

# NULLS LAST makes this another order to PostgreSQL than that of all todos, though neither column is ever null.
_OWNERS_ORDER = models.F("created_at").desc(nulls_last=True), models.F("id").desc(nulls_last=True)


class TodoQuerySet(models.QuerySet["Todo"]):
    """Queries whose cost does not grow with the table."""

    def of_owner(self, owner: str) -> Self:
        """Return the owner's todos, the newest first, in an order that only the owners' indexes have.

        In the default order the planner takes the index of all todos for an owner of many, and then reads all newer
        todos of other owners in vain.
        """
        todos = self.filter(owner=owner)
        return todos.order_by(*_OWNERS_ORDER) if owner else todos

    def datetimes(  # type: ignore[override]
        self,
        field_name: str,
        kind: Literal["year", "month", "day"],
        order: Literal["ASC"] = "ASC",
        tzinfo: tzinfo | None = None,
    ) -> Iterator[datetime]:
        """Return the starts of the periods that have todos, with one index probe for each.

        The admin's date hierarchy needs them on every page, and Django's SELECT DISTINCT reads the whole table.
        """
        todos, start = self.order_by(), datetime.min.replace(tzinfo=timezone.get_default_timezone())
        while first := todos.filter(**{f"{field_name}__gte": start}).aggregate(first=models.Min(field_name))["first"]:
            period = _period_start(timezone.localtime(first, tzinfo), kind)
            yield period
            start = _period_start(period + timedelta(days={"year": 366, "month": 31, "day": 1}[kind]), kind)


def _period_start(moment: datetime, kind: str) -> datetime:
    start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "day":
        return start
    return start.replace(day=1) if kind == "month" else start.replace(month=1, day=1)


class Todo(models.Model):
    """A todo. Its id is decided before Kafka, so that storing the same record twice changes nothing."""

    id = models.UUIDField(primary_key=True, editable=False)
    title = models.CharField(max_length=TITLE_MAX)
    description = models.TextField(max_length=DESCRIPTION_MAX, blank=True, default="")
    is_done = models.BooleanField("done", default=False, db_default=False)
    created_at = models.DateTimeField(editable=False, help_text="When the edge, or a foreign producer, accepted it.")
    stored_at = models.DateTimeField(editable=False, db_default=Now(), help_text="When it reached this database.")
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())
    source_partition = models.PositiveIntegerField(editable=False)
    source_offset = models.PositiveBigIntegerField(editable=False)
    request_id = models.CharField(
        max_length=128,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The client's X-Request-ID; empty where it sent none, and the todo's id served as one.",
    )
    owner = models.CharField(
        max_length=OWNER_MAX,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Who sent it: the subject of the token. Empty for a todo made without signing in.",
    )
    fingerprint = models.CharField(
        max_length=FINGERPRINT_LENGTH,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Of the content that came first under its Idempotency-Key; empty without a key.",
    )

    objects = TodoQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            # Read backwards: new todos come at the end of an ascending index, which then is almost half as large.
            models.Index(fields=["created_at", "id"], name="todo_by_time"),
            # It costs the ingest nothing, because new todos are not done.
            models.Index(fields=["-created_at", "-id"], name="todo_done", condition=models.Q(is_done=True)),
            # Todos without an owner are left out: an open API finds them in the list of all.
            models.Index("owner", *_OWNERS_ORDER, name="todo_by_owner", condition=~models.Q(owner="")),
            models.Index(
                "owner",
                *_OWNERS_ORDER,
                name="todo_by_owner_done",
                condition=models.Q(is_done=True) & ~models.Q(owner=""),
            ),
        ]

    def __str__(self) -> str:
        return self.title
