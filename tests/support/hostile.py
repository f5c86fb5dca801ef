"""Strategies for what a producer could send, and how a record gets to Kafka with exactly those bytes."""

import base64
import json
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from hypothesis import strategies as st

from todos.models import DeadLetter

INT64 = st.integers(-(2**63), 2**63 - 1)
# Not only what UTF-8 can hold: JSON's escapes can also name halves of a surrogate pair.
TEXT = st.text(st.characters(), max_size=20) | st.text(st.characters(codec="utf-8"), max_size=300)
ODD_TEXT = st.sampled_from(["", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "x" * 255, "x" * 256, "\U0001f4da" * 255])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | ODD_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
TITLES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=50)
IDS = st.uuids().map(str) | st.just(str(UUID(int=0)))
SMALL_OR_NULL = st.none() | st.binary(max_size=10)
TIMES = st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat())
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "title": TITLES,
    "description": TITLES | st.just("d" * 10_000) | st.none(),
    "type": st.just("TodoCreated"),
    "version": st.just(1),
    "id": IDS | st.none(),
    "owner": TITLES,
    "created_at": TIMES | st.none(),
}


@st.composite
def documents(draw: st.DrawFn, fields: dict[str, st.SearchStrategy[Any]] = FIELDS) -> dict[str, Any]:
    """An event, with some of its fields replaced by something else, and perhaps unknown ones."""
    names = draw(st.sets(st.sampled_from(sorted(fields))))
    document = {name: draw(fields[name]) for name in sorted(names | {"title"})}
    for name in sorted(draw(st.sets(st.sampled_from(sorted(fields)), max_size=1))):
        document[name] = draw(JSON | ODD_TEXT | TIMES)
    return document | draw(st.dictionaries(TEXT, JSON, max_size=1) | st.just({}))


@st.composite
def payloads(draw: st.DrawFn, fields: dict[str, st.SearchStrategy[Any]] = FIELDS) -> bytes:
    """JSON in UTF-8, whole or damaged, or no JSON at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=100))
    text = json.dumps(draw(documents(fields) | JSON), ensure_ascii=draw(st.booleans()))
    payload = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 3)) == 0:
        at, length = draw(st.integers(0, len(payload))), draw(st.integers(0, 3))
        payload = payload[:at] + draw(st.binary(max_size=3)) + payload[at + length :]
    return payload


class RawName(str):
    """A header's name as bytes: kafka-python's producer calls nothing but encode() on it."""

    __slots__ = ("raw",)
    raw: bytes

    def __new__(cls, raw: bytes) -> Self:
        name = super().__new__(cls, raw.decode("latin-1"))
        name.raw = raw
        return name

    def encode(self, *_: str) -> bytes:
        return self.raw


@dataclass
class Draft:
    """A record before Kafka. As a todos.event_log.Record it is what the reader makes of it."""

    value: bytes | None
    key: bytes | None = None
    raw_headers: tuple[tuple[bytes, bytes | None], ...] = ()
    timestamp: int = -1
    partition: int = 0
    offset: int = 0
    leader_epoch: int = -1

    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        return [(name.decode("utf-8", "surrogateescape"), value) for name, value in self.raw_headers]

    def send_options(self) -> dict[str, Any]:
        return {"key": self.key, "headers": [(RawName(name), value) for name, value in self.raw_headers]}


def drafts(
    timestamps: st.SearchStrategy[int] = INT64,
    header_values: st.SearchStrategy[bytes | None] = SMALL_OR_NULL,
) -> st.SearchStrategy[Draft]:
    names = st.binary(max_size=10) | TITLES.map(str.encode)
    headers = st.lists(st.tuples(names, header_values), max_size=2).map(tuple)
    return st.builds(Draft, st.none() | payloads(), SMALL_OR_NULL, headers, timestamps)


def assert_kept(draft: Draft, letter: DeadLetter) -> None:
    """A dead letter holds every byte of its record, and a reason that people can read."""
    assert (draft.key, draft.value) == (_bytes(letter.key), _bytes(letter.value))
    assert draft.raw_headers == tuple(
        (
            name.encode().decode("unicode_escape").encode("utf-8", "surrogateescape"),
            None if value is None else base64.b64decode(value),
        )
        for name, value in letter.headers
    )
    assert letter.detail
    assert letter.detail.isprintable()


def _bytes(column: bytes | memoryview | None) -> bytes | None:
    return None if column is None else bytes(column)
