"""Look up the outcome of one request: its record's position says when it is known, the todo's id what it is.

A lookup reads three or four rows, each by an index, so its cost does not depend on the size of the tables.

What belongs to another owner counts as absent. The id is derived from owner and Idempotency-Key, so a client that
guesses both knows it. Any other answer than for an unused id would tell the client that the owner used the key.
"""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from edge_api.contract import FieldError, InvalidPayload, TodoCreated, parse_json, record_key
from todos.dead_letters.service import readable_part
from todos.ledger.divergence import is_in_doubt
from todos.models import DeadLetter, OffsetLoss, PartitionLedger, Todo
from todos.owners import present_owners


class ReceiptStatus(StrEnum):
    """The outcome of a request to create a todo."""

    PENDING = "pending"
    STORED = "stored"
    REJECTED = "rejected"  # it cannot become a todo, unless an operator edits and redrives it
    CONFLICT = "conflict"  # an earlier request with the same Idempotency-Key had other content
    DELETED = "deleted"  # it was stored and deleted since; or it never was the client's
    LOST = "lost"  # Kafka deleted it unread, or an operator skipped it
    UNKNOWN = "unknown"  # Kafka lost its log there, so the record may have been lost unread, or stored and deleted


class ReceiptKey(NamedTuple):
    """The request that a receipt is for: the position of its record, and the id that the edge gave its todo.

    The id is also the record's key.
    """

    topic: str
    todo_id: UUID
    partition: int
    offset: int


class Receipt(NamedTuple):
    """The outcome. `todo` is what is stored under the id, by this request or by an earlier one that it repeats."""

    status: ReceiptStatus
    todo: Todo | None = None
    reason: str = ""
    errors: list[FieldError] = []


def next_offset(topic: str, partition: int) -> int:
    """Return the offset up to which a partition is decided; 0 while no poll has read it."""
    ledger = PartitionLedger.objects.filter(topic=topic, partition=partition)
    return ledger.values_list("next_offset", flat=True).first() or 0


def find_receipt(key: ReceiptKey, owner: str) -> Receipt:
    """Return the outcome for `owner`; of what another owner has, that of a todo that does not exist."""
    # Read the ledger first: the rows that it covers were committed with it, so later queries see them.
    is_decided = key.offset < next_offset(key.topic, key.partition)
    todo = Todo.objects.filter(id=key.todo_id, owner=owner).first()
    if todo and (todo.source_partition, todo.source_offset) == (key.partition, key.offset):
        return Receipt(ReceiptStatus.STORED, todo)
    if not is_decided:  # even if there is a todo: this request may conflict with it
        return Receipt(ReceiptStatus.PENDING)
    letter = _letter_at(key, owner)
    if letter and letter.reason == DeadLetter.Reason.CONFLICT:
        return Receipt(ReceiptStatus.CONFLICT, todo, letter.get_reason_display())
    if todo:  # stored by an earlier request, or by redriving the dead letter
        return Receipt(ReceiptStatus.STORED, todo)
    if letter:
        return Receipt(ReceiptStatus.REJECTED, None, letter.get_reason_display(), _errors(letter))
    return _without_row(key)


def _without_row(key: ReceiptKey) -> Receipt:
    if loss := _loss_of(key):
        return Receipt(ReceiptStatus.LOST, None, loss.get_cause_display())
    if is_in_doubt(key.topic, key.partition, key.offset):
        return Receipt(ReceiptStatus.UNKNOWN, None, "Kafka lost its log at this position, and it was used again")
    return Receipt(ReceiptStatus.DELETED)


def _letter_at(key: ReceiptKey, owner: str) -> DeadLetter | None:
    letter = DeadLetter.objects.filter(topic=key.topic, partition=key.partition, offset=key.offset).first()
    if letter is None or bytes(letter.key or b"") != record_key(key.todo_id):
        return None
    named = readable_part(bytes(letter.value or b"")).owner or ""
    return letter if present_owners([named]).get(named, named) == owner else None


def _loss_of(key: ReceiptKey) -> OffsetLoss | None:
    losses = OffsetLoss.objects.filter(topic=key.topic, partition=key.partition, next_offset__gt=key.offset)
    return losses.filter(first_offset__lte=key.offset).order_by("next_offset").first()


def _errors(letter: DeadLetter) -> list[FieldError]:
    """Return the invalid fields. A message of the database is for operators alone, so it is not among them."""
    try:
        parse_json(TodoCreated, bytes(letter.value or b""))
    except InvalidPayload as exc:
        return exc.errors
    return []
