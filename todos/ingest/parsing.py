"""Parse records: each becomes a row of todos, or a dead letter with the reason why it cannot."""

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from pydantic_core import to_json

from edge_api.contract import VERSION, InvalidPayload, TodoCreated, id_from_position, newer_version, parse_json
from edge_api.contract.headers import DEAD_LETTER_REPLAYS, FINGERPRINT, REQUEST_ID, VALID_FINGERPRINT, VALID_REQUEST_ID
from todos.bounds import moment_of
from todos.event_log import Record, RecordIdentity, Undecodable
from todos.models import DeadLetter
from todos.owners import UUID_TEXT

COPY_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


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
    """A record of a newer release than this worker. A newer worker can read it."""

    offset: int
    version: int

    def __str__(self) -> str:
        return f"offset {self.offset} holds version {self.version} of TodoCreated, and version {VERSION} is read here"


@dataclass
class ParsedBatch:
    """Records of a batch, each either a todo or a dead letter.

    `sources` and `letter_sources` are the records of `todos` and `dead_letters`, in the same order. `unsupported` has
    the first unsupported record of a partition; that record and all behind it are left out.
    """

    todos: list[TodoRow] = field(default_factory=list)
    sources: list[Record] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    letter_sources: list[Record] = field(default_factory=list)
    unsupported: dict[int, UnsupportedVersion] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.todos) + len(self.dead_letters)

    def count_by_partition(self) -> Counter[int]:
        """Count the records of each partition."""
        return Counter(record.partition for record in self.sources + self.letter_sources)

    def count_bytes(self) -> Counter[int]:
        """Count the bytes of each partition's values."""
        sizes: Counter[int] = Counter()
        for record in self.sources + self.letter_sources:
            sizes[record.partition] += len(record.value or b"")
        return sizes

    def within(self, partition: int, offsets: range) -> "ParsedBatch":
        """Return the records of one partition whose offsets are in a range."""
        return self._select(
            lambda todo: todo.source_partition == partition and todo.source_offset in offsets,
            lambda letter: letter.partition == partition and letter.offset in offsets,
        )

    def without_owners(self, owners: AbstractSet[str]) -> "ParsedBatch":
        """Return the records that are of none of the owners."""
        return self._select(
            lambda todo: todo.owner not in owners, lambda letter: owners.isdisjoint(named_owners(letter.value))
        )

    def _select(
        self, keeps_todo: Callable[[TodoRow], bool], keeps_letter: Callable[[DeadLetter], bool]
    ) -> "ParsedBatch":
        part = ParsedBatch()
        for letter, source in zip(self.dead_letters, self.letter_sources, strict=True):
            if keeps_letter(letter):
                part.dead_letters.append(letter)
                part.letter_sources.append(source)
        for todo, source in zip(self.todos, self.sources, strict=True):
            if keeps_todo(todo):
                part.todos.append(todo)
                part.sources.append(source)
        return part

    @cached_property
    def lines(self) -> list[str]:
        """The todos as copy_lines."""
        return copy_lines(self.todos)

    @cached_property
    def last_records(self) -> dict[int, RecordIdentity]:
        """Identify the last record of each partition. Undecodable ones identify nothing, so they are passed over."""
        last = {record.partition: record for record in self.sources}
        for record in self.letter_sources:
            if isinstance(record, Undecodable):
                continue
            if record.partition not in last or last[record.partition].offset < record.offset:
                last[record.partition] = record
        return {partition: RecordIdentity.of(record) for partition, record in last.items()}


def parse_records(topic: str, records: Iterable[Record], *, set_aside: bool = False) -> ParsedBatch:
    """Parse records of any partitions, those of one partition in the order of their offsets. Raises nothing.

    `set_aside` makes dead letters of unsupported records, as an operator may decide.
    """
    batch = ParsedBatch()
    for record in records:
        if batch.unsupported and record.partition in batch.unsupported:
            continue
        parsed = _parse(topic, record)
        if isinstance(parsed, UnsupportedVersion) and set_aside:
            parsed = build_dead_letter(topic, record, DeadLetter.Reason.SET_ASIDE, str(parsed))
        if isinstance(parsed, UnsupportedVersion):
            batch.unsupported[record.partition] = parsed
            continue
        if isinstance(parsed, DeadLetter):
            batch.dead_letters.append(parsed)
            batch.letter_sources.append(record)
        else:
            batch.todos.append(parsed)
            batch.sources.append(record)
    return batch


def _parse(topic: str, record: Record) -> TodoRow | DeadLetter | UnsupportedVersion:
    if isinstance(record, Undecodable):
        return build_dead_letter(topic, record, DeadLetter.Reason.UNDECODABLE, record.why)
    if not record.value:
        return build_dead_letter(topic, record, DeadLetter.Reason.EMPTY, "body: no value")
    try:
        event = parse_json(TodoCreated, record.value)
    except InvalidPayload as exc:
        if (version := newer_version(record.value)) is not None:
            return UnsupportedVersion(record.offset, version)
        return build_dead_letter(topic, record, DeadLetter.Reason.INVALID, str(exc))
    created_at = event.created_at or time_of(record.timestamp)
    request_id, fingerprint = _edge_headers(record.headers) if record.headers else ("", "")
    return TodoRow(
        event.id or id_from_position(topic, record.partition, record.offset),
        event.title,
        event.description or "",
        created_at if created_at.tzinfo == UTC else created_at.astimezone(UTC),  # PostgreSQL: no offset beyond 15:59
        record.partition,
        record.offset,
        request_id,
        fingerprint,
        event.owner or "",
    )


def copy_lines(todos: Sequence[TodoRow]) -> list[str]:
    """Return a line in the text format of COPY for each todo. Column by column, which is three times as fast."""
    return list(map("\t".join, zip(*map(_copy_texts, zip(*todos, strict=True)), strict=True)))


def _copy_texts(column: Sequence[object]) -> list[str]:
    if isinstance(column[0], str):
        texts = "\0".join(map(str, column))  # no text that PostgreSQL can hold has one
        for sign, escaped in COPY_ESCAPES:
            texts = texts.replace(sign, escaped)
        return texts.split("\0")
    return to_json(column).decode()[1:-1].replace('"', "").split(",")


def named_owners(payload: bytes | memoryview | None) -> set[str]:
    """Return the owner that a payload names, valid or not; where none is found, each UUID in the bytes may be one."""
    data = bytes(payload or b"")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        fields = None
    owner = fields.get("owner") if isinstance(fields, dict) else None
    return {owner} if isinstance(owner, str) else {*UUID_TEXT.findall(data.decode("latin-1"))}


def _edge_headers(headers: Sequence[tuple[str, bytes | None]]) -> tuple[str, str]:
    """Return request id and fingerprint. Values that the edge cannot have written count as missing."""
    values = dict(headers)
    request_id, fingerprint = values.get(REQUEST_ID) or b"", values.get(FINGERPRINT) or b""
    return (
        request_id.decode() if VALID_REQUEST_ID.fullmatch(request_id) else "",
        fingerprint.decode() if VALID_FINGERPRINT.fullmatch(fingerprint) else "",
    )


def time_of(timestamp_ms: int) -> datetime:
    """Return the time of a record, given in milliseconds since 1970; now, if the producer gave no valid time."""
    return moment_of(timestamp_ms) or datetime.now(UTC)


def build_dead_letter(topic: str, record: Record, reason: DeadLetter.Reason, detail: str) -> DeadLetter:
    """Return an unsaved dead letter with everything that is needed to judge the record and to send it again."""
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
    # Escaped and encoded, because JSON in PostgreSQL cannot hold U+0000.
    return name.encode("unicode_escape").decode(), None if value is None else base64.b64encode(value).decode()


def _printable(text: str) -> str:
    """Escape control characters: an error may quote a U+0000, which PostgreSQL cannot hold."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def headers_of(letter: DeadLetter) -> list[tuple[str, bytes | None]]:
    """Return the headers of the dead letter's record, as Kafka had them."""
    return [
        (name.encode().decode("unicode_escape"), None if value is None else base64.b64decode(value))
        for name, value in letter.headers
    ]


def _replays(headers: Sequence[tuple[str, bytes | None]]) -> int:
    """Return how often the todo was redriven; 0 for a header that the redrive cannot have written."""
    value = dict(headers).get(DEAD_LETTER_REPLAYS) or b""
    return int(value) if re.fullmatch(rb"[0-9]{1,4}", value) else 0
