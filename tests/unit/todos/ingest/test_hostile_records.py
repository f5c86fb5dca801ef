"""No bytes make the consumer raise, and none get lost: in this process, with many examples."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from edge_api.contract import FieldError, InvalidPayload, TodoCreated, parse_json
from edge_api.http.schemas import NewTodo
from tests.support.hostile import FIELDS, TEXT, Draft, assert_kept, drafts, payloads
from todos.ingest.parsing import parse_records

TODO_FIELDS: dict[str, st.SearchStrategy[Any]] = {name: FIELDS[name] for name in ("title", "description")}


def errors_of(model: type[BaseModel], payload: bytes) -> list[FieldError]:
    try:
        parse_json(model, payload)
    except InvalidPayload as exc:
        return exc.errors or [FieldError("", "")]
    return []


@given(payloads() | st.binary())
@example(b"[" * 100_000)
@example(b'{"title": ' * 100_000)
@example(b'{"title": 1' + b"0" * 100_000 + b"}")
@example(b'{"title": "x", "id": "\\ud800"}')
@example(b"\xef\xbb\xbf{}")
def test_the_parser_raises_nothing_but_its_own_error(payload: bytes) -> None:
    for model in (TodoCreated, NewTodo):
        assert all(field and message for field, message in errors_of(model, payload))


@given(st.lists(drafts(), max_size=5))
@example([Draft(b'{"title": "x", "id": "\\u0000"}')])
@example([Draft(b"", raw_headers=((b"\xff\x00\\", b"\x00"),), timestamp=-(2**63))])
def test_each_record_ends_in_one_place_with_all_its_bytes(records: list[Draft]) -> None:
    records = [replace(record, offset=offset) for offset, record in enumerate(records)]
    batch = parse_records("topic", records)

    todos = {todo.source_offset: todo for todo in batch.todos}
    letters = {letter.offset: letter for letter in batch.dead_letters}
    assert len(records) == len(batch.todos) + len(batch.dead_letters)
    assert todos.keys() | letters.keys() == set(range(len(records)))
    for offset, letter in letters.items():
        assert_kept(records[offset], letter)
        assert letter.timestamp_ms == records[offset].timestamp


@given(payloads(TODO_FIELDS))
@example(b'{"title": " \\u0001\\u2028\\ud83d\\udcda "}')
def test_the_consumer_stores_what_the_edge_accepts(body: bytes) -> None:
    try:
        todo = parse_json(NewTodo, body)
    except InvalidPayload:
        return
    event = TodoCreated.model_construct(
        id=uuid4(), created_at=datetime.now(UTC), title=todo.title, description=todo.description
    )
    batch = parse_records("topic", [Draft(event.to_json())])

    (row,) = batch.todos
    assert (row.id, row.created_at) == (event.id, event.created_at)
    assert (row.title, row.description) == (todo.title, todo.description or "")


@given(st.text(TEXT.filter(bool).map(lambda text: text[0]), max_size=1))
@pytest.mark.parametrize("field", ["title", "description", "owner", "id", "created_at", "type", "version"])
def test_no_character_in_any_field_breaks_the_reason(field: str, text: str) -> None:
    escaped = "".join(f"\\u{ord(character):04x}" for character in text if ord(character) < 0x10000)
    draft = Draft(f'{{"title": "x", "{field}": "{escaped}"}}'.encode())
    for letter in parse_records("topic", [draft]).dead_letters:
        assert_kept(draft, letter)
