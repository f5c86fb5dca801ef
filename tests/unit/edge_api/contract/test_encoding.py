"""The edge's short cuts around the model give what the model gives."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_api.contract import (
    DESCRIPTION_MAX,
    InvalidPayload,
    TodoCreated,
    TodoFields,
    encode_created,
    load_json,
    parse_json,
    record_key,
    validate,
)
from edge_api.http.schemas import NewTodo
from edge_api.http.todos import now
from tests.support.hostile import FIELDS, payloads

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=300)
TITLES = TEXT.map(str.strip).filter(bool).map(lambda title: title[:255].strip())
TODO_FIELDS = {name: FIELDS[name] for name in ("title", "description")}


@given(
    TITLES,
    st.none() | TEXT | st.just("\1" * DESCRIPTION_MAX),
    st.uuids(),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - made aware
    TEXT.map(lambda text: text[:255]),
)
def test_an_event_is_encoded_as_by_its_model(
    title: str, description: str | None, todo_id: UUID, created_at: datetime, owner: str
) -> None:
    todo = TodoFields(title=title, description=description)
    event = TodoCreated(id=todo_id, created_at=created_at, title=title, description=description, owner=owner or None)
    assert event.to_json() == encode_created(todo, str(todo_id), created_at.isoformat().replace("+00:00", "Z"), owner)


def test_the_time_of_now_is_what_the_model_would_write() -> None:
    text = now()
    event = TodoCreated(title="x", created_at=datetime.fromisoformat(text))
    assert text == json.loads(event.to_json())["created_at"]


def test_the_key_is_the_id() -> None:
    todo_id = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    assert record_key(todo_id) == record_key(str(todo_id)) == b"01890a5d-ac96-774b-bcce-b302099a8057"


def verdict(read: Callable[[], NewTodo]) -> object:
    """The todo, or the fields at fault."""
    try:
        return read()
    except InvalidPayload as exc:
        return {error.field for error in exc.errors}


@given(payloads(TODO_FIELDS))
def test_a_todo_is_judged_in_a_batch_as_it_is_alone(payload: bytes) -> None:
    alone = verdict(lambda: parse_json(NewTodo, payload))
    assert alone == verdict(lambda: validate(NewTodo, load_json(payload)))


@pytest.mark.parametrize("payload", [b'"\\ud800"', b'[{"a": "\\udfff"}]'])
def test_lone_surrogates_are_left_to_the_field_that_holds_them(payload: bytes) -> None:
    assert json.loads(payload) == load_json(payload)


def test_a_long_number_beside_a_lone_surrogate_costs_no_more_than_text() -> None:
    """int() of so many digits takes quadratic time, and Python refuses it."""
    surrogate, number = load_json(b'["\\ud800", ' + b"9" * 5_000 + b"]")
    assert ("\ud800", math.inf) == (surrogate, number)
