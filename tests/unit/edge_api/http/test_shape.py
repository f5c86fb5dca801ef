"""A body with too many JSON values is refused by its bytes: no parser and no validation sees it."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from edge_api.contract import DESCRIPTION_MAX, MAX_BATCH_BYTES, MAX_BATCH_TODOS, MAX_BODY_BYTES, TITLE_MAX
from edge_api.http.shape import MAX_BATCH_VALUES, MAX_FIELDS, check_batch, check_todo, has_too_many_strings
from edge_api.problems import Problem
from tests.support.hostile import JSON

Post = Callable[..., httpx.Response]
PASSED_VALIDATION = 503  # the edge under test has no Kafka behind it
NDJSON = {"Content-Type": "application/x-ndjson"}


def fields(count: int) -> dict[str, str]:
    return {f"f{number}": "," for number in range(count)}


def filled(start: bytes, item: bytes, end: bytes, size: int) -> bytes:
    """As many items as `size` bytes hold, with commas between them."""
    return start + b",".join([item] * ((size - len(start + end) + 1) // (len(item) + 1))) + end


HOSTILE = {
    "unknown fields": json.dumps(fields(6_500), separators=(",", ":")).encode()[:MAX_BODY_BYTES],
    "the same field": filled(b"{", b'"title":"x"', b"}", MAX_BODY_BYTES),
    "empty arrays": filled(b'{"title":[', b"[]", b"]}", MAX_BODY_BYTES),
    "empty objects": filled(b'{"title":"x","a":[', b"{}", b"]}", MAX_BODY_BYTES),
    "empty strings": filled(b'{"title":[', b'""', b"]}", MAX_BODY_BYTES),
    "numbers out of range": filled(b'{"title":[', b"1e999", b"]}", MAX_BODY_BYTES),
    "depth": b"[" * MAX_BODY_BYTES,
    "depth of objects": b'{"a":' * 13_000,
    "escaped quotes before": filled(b'{"title":"\\\\\\"","a":[', b"0", b"]}", MAX_BODY_BYTES),
    "invalid UTF-8 at the end": filled(b'{"title":[', b"[]", b'],"\xff"}', MAX_BODY_BYTES),
    "lone surrogates": filled(b'{"title":[', b'"\\ud800"', b"]}", MAX_BODY_BYTES),
}


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every parser and validation fails the test."""

    def fail(*_: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr("edge_api.http.todos.parse_json", fail)
    monkeypatch.setattr("edge_api.http.batches.read_valid_array", fail)
    monkeypatch.setattr("edge_api.http.batches.load_json", fail)
    monkeypatch.setattr("edge_api.http.batches.validate", fail)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_todo_is_refused_unread(post: Post, body: bytes) -> None:
    response = post(body)
    assert (422, ["body"]) == (response.status_code, [error["field"] for error in response.json()["errors"]])


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_hostile_batch_is_refused_unread(post: Post, body: bytes, form: str) -> None:
    many = MAX_BATCH_BYTES // (len(body) + 2)
    if form == "array":
        response = post(b"[" + b",".join([body] * many) + b"]", path="/new/batch/")
    else:
        response = post(b"\n".join([body] * many), NDJSON, "/new/batch/")
    assert (413, ["body"]) == (response.status_code, [error["field"] for error in response.json()["errors"]])


@pytest.mark.usefixtures("unread")
def test_a_quote_left_open_on_one_line_hides_no_other_line(post: Post) -> None:
    assert 413 == post(b'{"title":"\n' + filled(b"[", b"[]", b"]", 900_000), NDJSON, "/new/batch/").status_code


@pytest.mark.parametrize(("count", "at_fault"), [(MAX_FIELDS - 1, MAX_FIELDS), (MAX_FIELDS, 1)])
def test_the_most_fields_are_each_named(post: Post, count: int, at_fault: int) -> None:
    """The title is wrong, and the others are unknown."""
    body = json.dumps({"title": ""} | fields(count)).encode()
    assert at_fault == len(post(body).json()["errors"])
    batch = post(b"[" + body + b"]", path="/new/batch/")
    assert at_fault == len(batch.json()["results"][0]["errors"])


@pytest.mark.parametrize(
    ("values", "status"), [(MAX_BATCH_VALUES, 422), (MAX_BATCH_VALUES + 1, 413)], ids=["most", "too many"]
)
def test_a_batch_holds_so_many_values(post: Post, values: int, status: int) -> None:
    many_fields = json.dumps(fields(values - 1)).encode()  # the todo is a value too
    assert status == post(b"[" + many_fields + b"]", path="/new/batch/").status_code


@pytest.mark.parametrize("character", [",", "[", "{", '"', "\\", '\\"', '",', "\\,"])
def test_text_is_no_value_whatever_it_holds(app: FastAPI, run: Callable[..., None], character: str) -> None:
    title, description = (character * size for size in (TITLE_MAX // 2, DESCRIPTION_MAX // 2))
    todo = json.dumps({"title": title, "description": description}).encode()
    batch = [todo] * min(MAX_BATCH_TODOS, MAX_BATCH_BYTES // (len(todo) + 1) - 1)
    bodies = [("/new/", todo, {"Content-Type": "application/json"})]
    bodies.append(("/new/batch/", b"[" + b",".join(batch) + b"]", {"Content-Type": "application/json"}))
    bodies.append(("/new/batch/", b"\n".join(batch), NDJSON))

    async def scenario(client: httpx.AsyncClient) -> None:
        for path, body, headers in bodies:
            response = await client.post(path, content=body, headers=headers)
            assert PASSED_VALIDATION == response.status_code, response.text

    run(app, scenario)


TODOS = st.fixed_dictionaries({"title": st.text()}, optional={"description": st.none() | st.text()})


@given(st.lists(TODOS, min_size=1, max_size=10), st.booleans())
def test_no_text_makes_valid_todos_hold_too_many_strings(todos: list[Any], is_ascii: bool) -> None:
    many = (todos * MAX_BATCH_TODOS)[:MAX_BATCH_TODOS]
    assert not has_too_many_strings(json.dumps(many, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass"))


def test_unknown_fields_are_too_many_strings_before_they_are_too_many_values() -> None:
    body = json.dumps([fields(MAX_BATCH_VALUES // 2)]).encode()
    check_batch(body, [body])
    assert has_too_many_strings(body)


def values_in(document: Any) -> int:
    """How many values a document holds; an array or object counts as one more if it is empty."""
    if not isinstance(document, list | dict):
        return 0
    held = list(document.values()) if isinstance(document, dict) else document
    return max(len(held), 1) + sum(values_in(value) for value in held)


@given(st.lists(JSON, max_size=15) | st.dictionaries(st.text(max_size=5), JSON, max_size=15), st.booleans())
def test_values_are_counted_as_a_parser_would_find_them(document: Any, is_ascii: bool) -> None:
    body = json.dumps(document, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")

    def is_refused(check: Callable[[], None]) -> bool:
        try:
            check()
        except Problem:
            return True
        return False

    assert (values_in(document) > MAX_FIELDS) == is_refused(lambda: check_todo(body))
    batch = b"[" + b",".join([body] * 400) + b"]"
    assert (400 * (values_in(document) + 1) > MAX_BATCH_VALUES) == is_refused(lambda: check_batch(batch, [batch]))
