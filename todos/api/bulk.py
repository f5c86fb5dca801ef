"""POST /api/todos/bulk/: one action on many todos, in one transaction of two statements."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers

from todos.models import Todo

MAX_IDS = 1_000
IS_DONE = {"done": True, "open": False}
DELETE = "delete"
ACTIONS = [*IS_DONE, DELETE]
OUTCOMES = ["changed", "unchanged", "deleted", "not_found"]


class IdField(serializers.UUIDField):
    def to_internal_value(self, data: Any) -> UUID:
        """Refuse numbers, which REST framework would accept."""
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class BulkSerializer(serializers.Serializer):
    """The action, and the ids of its todos."""

    action = serializers.ChoiceField(ACTIONS)
    ids = serializers.ListField(child=IdField(), min_length=1, max_length=MAX_IDS)


class BulkResultSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    result = serializers.ChoiceField(OUTCOMES)


class BulkAnswerSerializer(serializers.Serializer):
    """The results, in the order of the ids."""

    results = BulkResultSerializer(many=True)


def apply_bulk(todos: QuerySet[Todo], action: str, ids: Sequence[UUID]) -> Iterator[dict[str, str]]:
    """Apply the action to those of `todos` that have one of the ids, and yield one result for each id."""
    results = _delete(todos, ids) if action == DELETE else _mark(todos, ids, is_done=IS_DONE[action])
    return ({"id": str(todo_id), "result": results.get(todo_id, "not_found")} for todo_id in ids)


@transaction.atomic
def _mark(todos: QuerySet[Todo], ids: Sequence[UUID], *, is_done: bool) -> dict[UUID, str]:
    states = dict(_locked(todos, ids).values_list("pk", "is_done"))
    changed = {pk for pk, was_done in states.items() if was_done is not is_done}
    Todo.objects.filter(pk__in=changed).update(is_done=is_done, updated_at=timezone.now())
    return {pk: "changed" if pk in changed else "unchanged" for pk in states}


@transaction.atomic
def _delete(todos: QuerySet[Todo], ids: Sequence[UUID]) -> dict[UUID, str]:
    existing = list(_locked(todos, ids).values_list("pk", flat=True))
    Todo.objects.filter(pk__in=existing).delete()
    return dict.fromkeys(existing, "deleted")


def _locked(todos: QuerySet[Todo], ids: Sequence[UUID]) -> QuerySet[Todo]:
    """Lock the rows in the order of their keys, so that two bulk requests cannot deadlock."""
    return todos.filter(pk__in=ids).order_by("pk").select_for_update()
