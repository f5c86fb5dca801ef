"""What became of one record: its place in the log tells when it is known, its id what came of it.

Three or four rows are looked up, each by an index: the price is the same in a table of any size.
"""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from edge_api.contract import FieldError, InvalidPayload, TodoCreated, parse_json, record_key
from todos.models import DeadLetter, OffsetLoss, PartitionLedger, Todo


class Status(StrEnum):
    PENDING = "pending"
    STORED = "stored"
    REJECTED = "rejected"  # it can never be a todo, or only if an operator mends it
    CONFLICT = "conflict"  # another content came first under its Idempotency-Key
    DELETED = "deleted"  # it was stored, and somebody deleted it
    LOST = "lost"  # Kafka deleted it unread, or an operator skipped it


class Place(NamedTuple):
    """Of a record; `todo_id` is its key too, and whoever does not know it learns nothing of a dead letter."""

    topic: str
    todo_id: UUID
    partition: int
    offset: int


class Receipt(NamedTuple):
    """`todo` is the one that is stored under this id: that of an earlier request, perhaps, after a replay."""

    status: Status
    todo: Todo | None = None
    reason: str = ""
    errors: list[FieldError] = []


def next_offset(topic: str, partition: int) -> int:
    """What lies before it is decided; 0 for a partition that nobody has read."""
    ledger = PartitionLedger.objects.filter(topic=topic, partition=partition)
    return ledger.values_list("next_offset", flat=True).first() or 0


def find_receipt(place: Place, owner: str) -> Receipt | None:
    """None where it is of a todo of another owner. What is not stored is known to whoever knows its id."""
    # The ledger first: what it covers was committed with it, so the rows that are read after it are there.
    is_decided = place.offset < next_offset(place.topic, place.partition)
    todo = Todo.objects.filter(id=place.todo_id).first()
    if todo and todo.owner != owner:
        return None
    if todo and (todo.source_partition, todo.source_offset) == place[2:]:
        return Receipt(Status.STORED, todo)
    if not is_decided:  # a conflict, perhaps, though there is a todo
        return Receipt(Status.PENDING)
    letter = _letter_at(place)
    if letter and letter.reason == DeadLetter.Reason.CONFLICT:
        return Receipt(Status.CONFLICT, todo, letter.get_reason_display())
    if todo:  # a replay; or redriven, after a dead letter
        return Receipt(Status.STORED, todo)
    if letter:
        return Receipt(Status.REJECTED, None, letter.get_reason_display(), _errors(letter))
    loss = _loss_of(place)
    return Receipt(Status.LOST, None, loss.get_cause_display()) if loss else Receipt(Status.DELETED)


def _letter_at(place: Place) -> DeadLetter | None:
    letter = DeadLetter.objects.filter(topic=place.topic, partition=place.partition, offset=place.offset).first()
    return letter if letter and bytes(letter.key or b"") == record_key(place.todo_id) else None


def _loss_of(place: Place) -> OffsetLoss | None:
    losses = OffsetLoss.objects.filter(topic=place.topic, partition=place.partition, next_offset__gt=place.offset)
    return losses.filter(first_offset__lte=place.offset).order_by("next_offset").first()


def _errors(letter: DeadLetter) -> list[FieldError]:
    """The fields at fault. What the database says of its own insides is for the operator."""
    try:
        parse_json(TodoCreated, bytes(letter.value or b""))
    except InvalidPayload as exc:
        return exc.errors
    return []
