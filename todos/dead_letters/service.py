"""What an operator can do about a dead letter: edit, redrive, discard, reopen.

A redrive goes through Kafka, like any todo. Its todo is stored exactly once whatever dies in between: the id is
decided and committed before anything is sent, so a second send is absorbed like any producer's retry.
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

# A todo that came back this often is redriven again only after an edit: sending the same once more will not help.
MAX_REPLAYS = 3
REDRIVES_PER_SECOND = 100
Action, Status = DeadLetterEvent.Action, DeadLetter.Status


class Refused(Exception):
    """The dead letter stays as it is; the message says why."""


class Outcome(NamedTuple):
    """What became of one dead letter of many; `refused` is None when it was done."""

    letter_id: int
    refused: str | None


def payload_of(letter: DeadLetter) -> bytes:
    """The operator's edit, or else what the record held."""
    return bytes(letter.value or b"") if letter.edited_value is None else bytes(letter.edited_value)


def event_of(letter: DeadLetter, payload: bytes) -> TodoCreated:
    """The event that redriving `payload` sends. Raises InvalidPayload.

    Id, owner and time that it leaves out are the record's own: the producer may have told the id to somebody.
    """
    event = parse_json(TodoCreated, payload)
    original = _readable_part(bytes(letter.value or b""))
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


def _readable_part(value: bytes) -> TodoCreated:
    """Id, owner and time of an invalid payload, each of them if it is valid by itself."""
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
    kept = {name: fields[name] for name in ("id", "owner", "created_at") if name in fields and name not in faults}
    return parse_json(TodoCreated, json.dumps({"title": "-"} | kept).encode())


@transaction.atomic
def edit(letter_id: int, payload: bytes, *, by: str) -> None:
    """Keep `payload` beside the original. Raises Refused, or InvalidPayload: only what is valid is kept."""
    letter = _locked(letter_id, Status.OPEN)
    event_of(letter, payload)
    letter.edited_value = None if payload == bytes(letter.value or b"") else payload
    _record(letter, Action.EDITED, by, f"{len(payload):,} bytes")


def redrive(letter_id: int, *, sender: Sender, by: str) -> None:
    """Send it to its topic again, with a header that counts the replays. Raises Refused or LogUnavailable."""
    with transaction.atomic(durable=True):
        letter = _locked(letter_id, Status.OPEN)
        letter.todo_id = _event_to_send(letter).id
        letter.save(update_fields=["todo_id"])
    # From here on a crash is harmless: whoever redrives again sends the same id.
    with transaction.atomic(durable=True):
        letter = _locked(letter_id, Status.OPEN)
        position = _send(letter, _event_to_send(letter), sender)
        letter.status = Status.REDRIVEN
        _record(letter, Action.REDRIVEN, by, f"todo {letter.todo_id}, sent to {position}")


def each(act: Callable[[int], object], letter_ids: Iterable[int]) -> Iterator[Outcome]:
    """Do `act` to one after the other; what is refused stops nobody else."""
    for letter_id in letter_ids:
        try:
            act(letter_id)
        except Refused as exc:
            yield Outcome(letter_id, str(exc))
        else:
            yield Outcome(letter_id, None)


def paced(letter_ids: Iterable[int], per_second: float = REDRIVES_PER_SECOND) -> Iterator[int]:
    """The same ids, never faster than this: redriven todos must not crowd out new ones."""
    for letter_id in letter_ids:
        next_start = time.monotonic() + 1 / per_second
        yield letter_id
        time.sleep(max(next_start - time.monotonic(), 0))


@transaction.atomic
def discard(letter_id: int, *, because: str, by: str) -> None:
    """Raises Refused."""
    letter = _locked(letter_id, Status.OPEN)
    if not because.strip():
        raise Refused(f"{letter}: say why it is discarded")
    letter.status = Status.DISCARDED
    _record(letter, Action.DISCARDED, by, because.strip())


@transaction.atomic
def reopen(letter_id: int, *, by: str) -> None:
    """After a discard by mistake, or when Kafka lost what was redriven. Raises Refused."""
    letter = _locked(letter_id, Status.REDRIVEN, Status.DISCARDED)
    was, letter.status = letter.status, Status.OPEN
    _record(letter, Action.REOPENED, by, f"was {was}")


def check_redrive(letter_id: int) -> None:
    """Would a redrive be accepted now? Raises Refused when not, and sends nothing."""
    _event_to_send(_found(DeadLetter.objects.all(), letter_id, Status.OPEN))


def check_discard(letter_id: int) -> None:
    """Raises Refused."""
    _found(DeadLetter.objects.all(), letter_id, Status.OPEN)


def _event_to_send(letter: DeadLetter) -> TodoCreated:
    if letter.replays >= MAX_REPLAYS and letter.edited_value is None:
        raise Refused(f"{letter}: came back {letter.replays} times; edit it before it is sent again")
    try:
        return event_of(letter, payload_of(letter))
    except InvalidPayload as exc:
        raise Refused(f"{letter}: not valid: {exc}") from exc


def _send(letter: DeadLetter, event: TodoCreated, sender: Sender) -> str:
    assert event.id is not None  # noqa: S101 - event_of has set it
    headers = [(name, value) for name, value in headers_of(letter) if name not in {DEAD_LETTER_ID, DEAD_LETTER_REPLAYS}]
    headers += [(DEAD_LETTER_ID, b"%d" % letter.pk), (DEAD_LETTER_REPLAYS, b"%d" % min(letter.replays + 1, 9999))]
    try:
        where = sender.send(letter.topic, key=record_key(event.id), value=event.to_json(), headers=headers)
    except RecordRefused as exc:
        raise Refused(f"{letter}: {exc}") from exc
    return f"{letter.topic}/{where.partition}/{where.offset}"


def _locked(letter_id: int, *allowed: DeadLetter.Status) -> DeadLetter:
    """A second click waits here for the first one, and then finds the status changed."""
    return _found(DeadLetter.objects.select_for_update(), letter_id, *allowed)


def _found(letters: QuerySet[DeadLetter], letter_id: int, *allowed: DeadLetter.Status) -> DeadLetter:
    letter = letters.filter(pk=letter_id).first()
    if letter is None:
        raise Refused(f"there is no dead letter {letter_id}")
    if letter.status not in allowed:
        by = f", by {letter.changed_by} at {letter.changed_at:%Y-%m-%d %H:%M:%S} UTC" if letter.changed_at else ""
        raise Refused(f"{letter}: is {letter.status}{by}")
    return letter


def _record(letter: DeadLetter, action: DeadLetterEvent.Action, by: str, note: str) -> None:
    letter.changed_by, letter.changed_at = by, timezone.now()
    letter.save(update_fields=["status", "edited_value", "changed_by", "changed_at"])
    letter.events.create(action=action, actor=by, note=note)
