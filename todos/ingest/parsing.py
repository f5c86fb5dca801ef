"""From the bytes of a record to a row: a todo, or a dead letter that says why not."""

import base64
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from edge_api.contract import (
    VERSION,
    InvalidPayload,
    TodoCreated,
    id_from_position,
    newer_version,
    parse_json,
)
from edge_api.contract.headers import DEAD_LETTER_REPLAYS, FINGERPRINT, REQUEST_ID, VALID_FINGERPRINT, VALID_REQUEST_ID
from todos.event_log import Record, Undecodable
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
    request_id: str = ""
    fingerprint: str = ""
    owner: str = ""


class UnsupportedVersion(NamedTuple):
    """A newer release wrote it, and a newer worker will read all of it."""

    offset: int
    version: int

    def __str__(self) -> str:
        return f"offset {self.offset} holds version {self.version} of TodoCreated, and version {VERSION} is read here"


@dataclass
class ParsedBatch:
    """A batch of records, each of them either a todo or a dead letter. `sources` are the todos' records, in order.

    Of a partition in `unsupported`, the record there and all behind it are left out.
    """

    todos: list[TodoRow] = field(default_factory=list)
    sources: list[Record] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    unsupported: dict[int, UnsupportedVersion] = field(default_factory=dict)
    bytes: Counter[int] = field(default_factory=Counter)  # of the values, by partition

    def __len__(self) -> int:
        return len(self.todos) + len(self.dead_letters)

    def by_partition(self) -> Counter[int]:
        """How many records."""
        return Counter([todo.source_partition for todo in self.todos] + [each.partition for each in self.dead_letters])

    def within(self, partition: int, offsets: range) -> "ParsedBatch":
        part = ParsedBatch(
            dead_letters=[e for e in self.dead_letters if e.partition == partition and e.offset in offsets]
        )
        for todo, source in zip(self.todos, self.sources, strict=True):
            if todo.source_partition == partition and todo.source_offset in offsets:
                part.todos.append(todo)
                part.sources.append(source)
        values = [source.value for source in part.sources] + [letter.value for letter in part.dead_letters]
        part.bytes[partition] = sum(len(value or b"") for value in values)
        return part


def parse_records(topic: str, records: Iterable[Record]) -> ParsedBatch:
    batch = ParsedBatch()
    for record in records:
        value, partition = record.value or b"", record.partition
        if batch.unsupported and partition in batch.unsupported:
            continue
        batch.bytes[partition] += len(value)
        if isinstance(record, Undecodable):
            batch.dead_letters.append(dead_letter(topic, record, DeadLetter.Reason.UNDECODABLE, record.why))
            continue
        try:
            event = parse_json(TodoCreated, value)
        except InvalidPayload as exc:
            if (version := newer_version(value)) is not None:
                batch.unsupported[partition] = UnsupportedVersion(record.offset, version)
                batch.bytes[partition] -= len(value)
                continue
            reason = DeadLetter.Reason.INVALID if value else DeadLetter.Reason.EMPTY
            batch.dead_letters.append(dead_letter(topic, record, reason, str(exc) if value else "body: no value"))
            continue
        todo_id = event.id or id_from_position(topic, partition, record.offset)
        created_at = _in_utc(event.created_at) if event.created_at else time_of(record.timestamp)
        told = _told_by(record.headers) if record.headers else ("", "")
        batch.todos.append(
            TodoRow(
                todo_id, event.title, event.description or "", created_at, partition, record.offset, *told,
                event.owner or "",
            )
        )  # fmt: skip
        batch.sources.append(record)
    return batch


def _told_by(headers: Sequence[tuple[str, bytes | None]]) -> tuple[str, str]:
    """Request id and fingerprint. Anyone may write headers: what the edge would not have written counts as none."""
    found = dict(headers)
    request_id, fingerprint = found.get(REQUEST_ID) or b"", found.get(FINGERPRINT) or b""
    return (
        request_id.decode() if VALID_REQUEST_ID.fullmatch(request_id) else "",
        fingerprint.decode() if VALID_FINGERPRINT.fullmatch(fingerprint) else "",
    )


def _in_utc(moment: datetime) -> datetime:
    """PostgreSQL takes no time zone beyond 15:59."""
    return moment.astimezone(UTC) if moment.utcoffset() else moment


def time_of(timestamp_ms: int) -> datetime:
    """The record's own time; now, where a producer gave none or nonsense."""
    if 0 <= timestamp_ms < MAX_TIMESTAMP_MS:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    return datetime.now(UTC)


def dead_letter(topic: str, record: Record, reason: DeadLetter.Reason, detail: str) -> DeadLetter:
    return DeadLetter(
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        reason=reason,
        detail=_printable(detail),
        key=record.key,
        value=record.value,
        headers=[_header(name, value) for name, value in record.headers],
        timestamp_ms=record.timestamp,
        replays=_replays(record.headers),
    )


def _header(name: str, value: bytes | None) -> tuple[str, str | None]:
    # Escaped and encoded, because JSON in PostgreSQL holds no U+0000.
    return name.encode("unicode_escape").decode(), None if value is None else base64.b64encode(value).decode()


def _printable(text: str) -> str:
    """An error may quote what it found, a U+0000 for instance, which PostgreSQL cannot hold."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def headers_of(letter: DeadLetter) -> list[tuple[str, bytes | None]]:
    """The headers of the record, as Kafka had them."""
    return [
        (name.encode().decode("unicode_escape"), None if value is None else base64.b64decode(value))
        for name, value in letter.headers
    ]


def _replays(headers: Sequence[tuple[str, bytes | None]]) -> int:
    """At most four digits count: anyone may write headers."""
    found = dict(headers).get(DEAD_LETTER_REPLAYS) or b""
    return int(found) if re.fullmatch(rb"[0-9]{1,4}", found) else 0
