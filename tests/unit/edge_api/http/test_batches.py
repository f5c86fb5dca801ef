"""POST /new/batch/ before Kafka: what is no batch at all, and what is wrong with each todo of one."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_api.contract import MAX_BATCH_BYTES, MAX_BATCH_TODOS, InvalidPayload, load_json, validate
from edge_api.http.batches import read_valid_array
from edge_api.http.schemas import NewTodo
from tests.support.hostile import FIELDS, payloads

PASSED_VALIDATION = 503  # the edge under test has no Kafka behind it
TODO = {"title": "Do homework"}
JSON, NDJSON = "application/json", "application/x-ndjson"


@pytest.fixture
def post_batch(post: Callable[..., httpx.Response]) -> Callable[..., httpx.Response]:
    def send(content: bytes, media_type: str = JSON) -> httpx.Response:
        return post(content, {"Content-Type": media_type}, path="/new/batch/")

    return send


Post = Callable[..., httpx.Response]


def array(*items: Any) -> bytes:
    return json.dumps(items).encode()


def lines(*items: Any) -> bytes:
    return "".join(f"{json.dumps(item)}\n" for item in items).encode()


def fields(rejected: dict[str, Any]) -> list[str]:
    assert all(error["message"] for error in rejected["errors"])
    return [error["field"] for error in rejected["errors"]]


def assert_no_batch(response: httpx.Response, status: int, field: str) -> None:
    """Refused as a whole."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert [field] == fields(response.json())
    assert "results" not in response.json()


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (array(TODO), JSON),
        (array(*[TODO] * MAX_BATCH_TODOS), JSON),
        (array(TODO).ljust(MAX_BATCH_BYTES), JSON),
        (array(TODO, {"title": ""}), JSON),
        (lines(*[TODO] * MAX_BATCH_TODOS), NDJSON),
        (lines(TODO).rstrip(b"\n"), NDJSON),
        (b"\n \r\n" + lines(TODO).replace(b"\n", b"\r\n") + b"\n", NDJSON),
        (lines(TODO) + b"{\n", NDJSON),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_a_batch_with_a_valid_todo_goes_to_kafka(post_batch: Post, content: bytes, media_type: str) -> None:
    assert post_batch(content, media_type).status_code == PASSED_VALIDATION


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"", JSON, 400),
        (b"[", JSON, 400),
        (array(TODO) + array(TODO), JSON, 400),
        (lines(TODO, TODO), JSON, 400),
        (b'[{"title": "\xff"}]', JSON, 400),
        (b"[" * 10_000, JSON, 400),
        (b"[]", JSON, 422),
        (b'{"title": "x"}', JSON, 422),
        (b"null", JSON, 422),
        (b"", NDJSON, 422),
        (b"\n \r\n\t\n", NDJSON, 422),
        (array(*[TODO] * (MAX_BATCH_TODOS + 1)), JSON, 413),
        (lines(*[TODO] * (MAX_BATCH_TODOS + 1)), NDJSON, 413),
        (b"\n" * MAX_BATCH_BYTES, NDJSON, 413),
        (array(TODO).ljust(MAX_BATCH_BYTES + 1), JSON, 413),
        (lines(TODO).ljust(MAX_BATCH_BYTES + 1), NDJSON, 413),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:20],
)
def test_what_is_no_batch_is_refused_as_a_whole(post_batch: Post, content: bytes, media_type: str, status: int) -> None:
    assert_no_batch(post_batch(content, media_type), status, "body")


@pytest.mark.parametrize(
    "media_type", ["", "text/plain", "application/x-ndjson; charset=latin-1", "application/ndjson"]
)
def test_another_content_type_is_refused(post_batch: Post, media_type: str) -> None:
    assert_no_batch(post_batch(array(TODO), media_type), 415, "Content-Type")


@pytest.mark.parametrize(
    ("item", "at_fault"),
    [
        ({}, ["title"]),
        ({"title": ""}, ["title"]),
        ({"title": "x" * 256, "description": "d" * 10_001}, ["title", "description"]),
        ({"title": "\0"}, ["title"]),
        ({"title": "\ud800"}, ["title"]),
        ({"title": "x", "id": "y"}, ["id"]),
        ({f"f{number}": 1 for number in range(9_000)}, ["body"]),
        ([TODO], ["body"]),
        ("x", ["body"]),
        (None, ["body"]),
    ],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.parametrize(("form", "media_type"), [(array, JSON), (lines, NDJSON)], ids=["array", "lines"])
def test_each_todo_has_its_own_errors(
    post_batch: Post, form: Callable[..., bytes], media_type: str, item: Any, at_fault: list[str]
) -> None:
    response = post_batch(form({"title": 5}, item), media_type)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert [] == problem["errors"]
    assert [422, 422] == [result["status"] for result in problem["results"]]
    assert [["title"], at_fault] == [fields(result) for result in problem["results"]]


def test_a_line_that_is_no_json_is_named_by_its_number(post_batch: Post) -> None:
    response = post_batch(b'\n{"title"\n\n{"title": "\xff"}\n{"title": ""}\n', NDJSON)
    results = response.json()["results"]
    assert [400, 400, 422] == [result["status"] for result in results]
    assert [["line 2"], ["line 4"], ["title"]] == [fields(result) for result in results]
    assert ["must be valid JSON", "must be UTF-8"] == [result["errors"][0]["message"] for result in results[:2]]


def test_a_batch_of_nothing_but_errors_gets_a_bounded_answer(post_batch: Post) -> None:
    item = {"n" * 100 + f"{number}": 1 for number in range(8)}  # and without a title
    response = post_batch(array(*[item] * MAX_BATCH_TODOS))
    assert response.status_code == 422
    shown = [len(result["errors"]) for result in response.json()["results"]]
    assert [9] * 112 + [1] * (MAX_BATCH_TODOS - 112) == shown  # 1,000 errors and those of the todo that crossed it
    assert len(response.content) < MAX_BATCH_BYTES


TODO_FIELDS = {name: FIELDS[name] for name in ("title", "description")}


@given(st.lists(payloads(TODO_FIELDS), max_size=3))
def test_todos_are_judged_together_as_each_is_alone(items: list[bytes]) -> None:
    body = b"[" + b",".join(items) + b"]"
    try:
        one_by_one = [validate(NewTodo, item) for item in load_json(body)]
    except InvalidPayload:
        one_by_one = []
    assert one_by_one == read_valid_array(body)
