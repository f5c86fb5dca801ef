"""The actions of an operator on a dead letter: edit, redrive, discard, reopen.

A redrive sends the todo through Kafka like any other. The todo is stored exactly once even if the process dies halfway:
its id is committed before the record is sent, so a second send is absorbed like any producer's retry.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from edge_api.contract import FieldError, InvalidPayload, TodoCreated, id_from_position, parse_json, record_key
from edge_api.contract.headers import DEAD_LETTER_ID, DEAD_LETTER_REPLAYS
from todos.event_log import RecordRefused, Sender
from todos.ingest.parsing import headers_of, time_of
from todos.models import DeadLetter, DeadLetterEvent, Todo

# A todo that became a dead letter again this often must be edited first: sending the same record again will not help.
MAX_REPLAYS = 3
REDRIVES_PER_SECOND = 100
Action, Status = DeadLetterEvent.Action, DeadLetter.Status


class ActionRefused(Exception):
    """Raised when an action is not allowed. The dead letter is unchanged, and the message says why."""


class ActionResult(NamedTuple):
    """The result of an action on one of many dead letters; `refusal` says why it was refused, None if it was done."""

    letter_id: int
    refusal: str | None


def payload_of(letter: DeadLetter) -> bytes:
    """Return the payload that a redrive would send: the operator's edit, or the value of the record."""
    return bytes(letter.value or b"") if letter.edited_value is None else bytes(letter.edited_value)


def event_of(letter: DeadLetter, payload: bytes) -> TodoCreated:
    """Return the event that redriving `payload` sends. Raises InvalidPayload.

    An id, owner or time that is missing in `payload` is taken from the record: a client may know the id already.
    """
    event = parse_json(TodoCreated, payload)
    original = readable_part(bytes(letter.value or b""))
    todo_id = letter.todo_id or event.id or original.id
    todo_id = todo_id or id_from_position(letter.topic, letter.partition, letter.offset)
    if event.id not in {None, todo_id}:
        raise InvalidPayload([FieldError("id", f"must stay {todo_id}, which may have been sent already")])
    if letter.todo_id is None and Todo.objects.filter(id=todo_id).exists():
        raise InvalidPayload([FieldError("id", f"todo {todo_id} is stored already: discard, or give it another id")])
    created_at = event.created_at or original.created_at
    created_at = created_at or time_of(-1 if letter.timestamp_ms is None else letter.timestamp_ms)
    owner = event.owner or original.owner
    return event.model_copy(update={"id": todo_id, "owner": owner, "created_at": created_at})


def readable_part(value: bytes) -> TodoCreated:
    """Return an event with those of id, owner and time that are valid in an invalid payload."""
    nothing = TodoCreated(title="-")
    try:
        return parse_json(TodoCreated, value)
    except InvalidPayload as exc:
        faults = {error.field for error in exc.errors}
    if "body" in faults:
        return nothing
    try:
        fields = json.loads(value)
    except ValueError:  # a number too long for the standard library
        return nothing
    valid = {name: fields[name] for name in ("id", "owner", "created_at") if name in fields and name not in faults}
    return parse_json(TodoCreated, json.dumps({"title": "-"} | valid).encode())


@transaction.atomic
def edit(letter_id: int, payload: bytes, *, by: str) -> None:
    """Keep `payload` beside the original value. Raises ActionRefused, or InvalidPayload if it is not valid."""
    letter = _lock(letter_id, Status.OPEN)
    event_of(letter, payload)
    letter.edited_value = None if payload == bytes(letter.value or b"") else payload
    _save(letter, Action.EDITED, by, f"{len(payload):,} bytes")


def redrive(letter_id: int, *, sender: Sender, by: str) -> None:
    """Send the letter to its topic, with a header that counts the replays. Raises ActionRefused or LogUnavailable."""
    with transaction.atomic(durable=True):
        letter = _lock(letter_id, Status.OPEN)
        letter.todo_id = _event_to_send(letter).id
        letter.save(update_fields=["todo_id"])
    # From here on a crash is harmless: the next redrive sends the same id.
    with transaction.atomic(durable=True):
        letter = _lock(letter_id, Status.OPEN)
        position = _send(letter, _event_to_send(letter), sender)
        letter.status = Status.REDRIVEN
        _save(letter, Action.REDRIVEN, by, f"todo {letter.todo_id}, sent to {position}")


def apply_each(action: Callable[[int], object], letter_ids: Iterable[int]) -> Iterator[ActionResult]:
    """Apply `action` to one letter after the other, and yield its results. A refusal does not stop the others."""
    for letter_id in letter_ids:
        try:
            action(letter_id)
        except ActionRefused as exc:
            yield ActionResult(letter_id, str(exc))
        else:
            yield ActionResult(letter_id, None)


def paced(letter_ids: Iterable[int], per_second: float = REDRIVES_PER_SECOND) -> Iterator[int]:
    """Yield the same ids at a rate of at most `per_second`, so that redriven todos do not crowd out new ones."""
    for letter_id in letter_ids:
        next_start = time.monotonic() + 1 / per_second
        yield letter_id
        time.sleep(max(next_start - time.monotonic(), 0))


@transaction.atomic
def discard(letter_id: int, *, because: str, by: str) -> None:
    """Set the letter aside for good, with a reason. Raises ActionRefused."""
    letter = _lock(letter_id, Status.OPEN)
    if not because.strip():
        raise ActionRefused(f"{letter}: say why it is discarded")
    letter.status = Status.DISCARDED
    _save(letter, Action.DISCARDED, by, because.strip())


@transaction.atomic
def reopen(letter_id: int, *, by: str) -> None:
    """Reopen a letter that was discarded by mistake, or that Kafka lost after a redrive. Raises ActionRefused."""
    letter = _lock(letter_id, Status.REDRIVEN, Status.DISCARDED)
    before, letter.status = letter.status, Status.OPEN
    _save(letter, Action.REOPENED, by, f"was {before}")


def check_redrive(letter_id: int) -> None:
    """Raise ActionRefused if a redrive would be refused now. Sends nothing."""
    _event_to_send(_get(DeadLetter.objects.all(), letter_id, Status.OPEN))


def check_discard(letter_id: int) -> None:
    """Raise ActionRefused if the letter cannot be discarded now."""
    _get(DeadLetter.objects.all(), letter_id, Status.OPEN)


def _event_to_send(letter: DeadLetter) -> TodoCreated:
    if letter.replays >= MAX_REPLAYS and letter.edited_value is None:
        raise ActionRefused(f"{letter}: came back {letter.replays} times; edit it before it is sent again")
    try:
        return event_of(letter, payload_of(letter))
    except InvalidPayload as exc:
        raise ActionRefused(f"{letter}: not valid: {exc}") from exc


def _send(letter: DeadLetter, event: TodoCreated, sender: Sender) -> str:
    assert event.id is not None  # noqa: S101 - event_of has set it
    headers = [(name, value) for name, value in headers_of(letter) if name not in {DEAD_LETTER_ID, DEAD_LETTER_REPLAYS}]
    headers += [(DEAD_LETTER_ID, b"%d" % letter.pk), (DEAD_LETTER_REPLAYS, b"%d" % min(letter.replays + 1, 9999))]
    try:
        position = sender.send(letter.topic, key=record_key(event.id), value=event.to_json(), headers=headers)
    except RecordRefused as exc:
        raise ActionRefused(f"{letter}: {exc}") from exc
    return f"{letter.topic}/{position.partition}/{position.offset}"


def _lock(letter_id: int, *allowed: DeadLetter.Status) -> DeadLetter:
    """Lock the letter, so that a concurrent action waits for this one and then finds the status changed."""
    return _get(DeadLetter.objects.select_for_update(), letter_id, *allowed)


def _get(letters: QuerySet[DeadLetter], letter_id: int, *allowed: DeadLetter.Status) -> DeadLetter:
    letter = letters.filter(pk=letter_id).first()
    if letter is None:
        raise ActionRefused(f"there is no dead letter {letter_id}")
    if letter.status not in allowed:
        by = f", by {letter.changed_by} at {letter.changed_at:%Y-%m-%d %H:%M:%S} UTC" if letter.changed_at else ""
        raise ActionRefused(f"{letter}: is {letter.status}{by}")
    return letter


def _save(letter: DeadLetter, action: DeadLetterEvent.Action, by: str, note: str) -> None:
    letter.changed_by, letter.changed_at = by, timezone.now()
    letter.save(update_fields=["status", "edited_value", "changed_by", "changed_at"])
    letter.events.create(action=action, actor=by, note=note)
