"""From the bytes of a record to a row: a todo, or a dead letter that says why not."""

import base64
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from edge_api.contract import InvalidPayload, TodoCreated, id_from_position, parse_json
from todos.log import Record
from todos.models import DeadLetter

MAX_TIMESTAMP_MS = 253_370_764_800_000  # the contract's last moment, start of the year 9999


class TodoRow(NamedTuple):
    """The columns of one todo that come from its record."""

    id: UUID
    title: str
    description: str
    created_at: datetime
    source_partition: int
    source_offset: int


@dataclass
class Sorted:
    """A batch of records, each of them in exactly one of the two lists."""

    todos: list[TodoRow] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    bytes: Counter[int] = field(default_factory=Counter)  # of the values, by partition


def sort_records(topic: str, records: Iterable[Record]) -> Sorted:
    batch = Sorted()
    for record in records:
        batch.bytes[record.partition] += len(record.value or b"")
        try:
            batch.todos.append(_todo(topic, record))
        except InvalidPayload as exc:
            batch.dead_letters.append(_dead_letter(topic, record, exc))
    return batch


def _todo(topic: str, record: Record) -> TodoRow:
    event = parse_json(TodoCreated, record.value or b"")
    return TodoRow(
        id=event.id or id_from_position(topic, record.partition, record.offset),
        title=event.title,
        description=event.description or "",
        created_at=event.created_at or _time_of(record),
        source_partition=record.partition,
        source_offset=record.offset,
    )


def _time_of(record: Record) -> datetime:
    """The record's own time; now, where a producer gave none or nonsense."""
    if 0 <= record.timestamp < MAX_TIMESTAMP_MS:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    return datetime.now(UTC)


def _dead_letter(topic: str, record: Record, error: InvalidPayload) -> DeadLetter:
    return DeadLetter(
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        reason=DeadLetter.Reason.INVALID if record.value else DeadLetter.Reason.EMPTY,
        detail=str(error),
        key=record.key,
        value=record.value,
        headers=[_header(name, value) for name, value in record.headers],
        timestamp_ms=record.timestamp,
    )


def _header(name: str, value: bytes | None) -> tuple[str, str | None]:
    # Escaped and encoded, because JSON in PostgreSQL holds no U+0000.
    return name.encode("unicode_escape").decode(), None if value is None else base64.b64encode(value).decode()
