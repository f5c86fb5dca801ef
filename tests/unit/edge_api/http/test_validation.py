"""What the edge refuses before Kafka, and that every refusal is problem+json that names the field."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from edge_api.contract import MAX_BODY_BYTES
from edge_api.publishing.batcher import Publisher

Post = Callable[..., httpx.Response]
PASSED_VALIDATION = 503  # the edge under test has no Kafka behind it


def todo(**fields: Any) -> bytes:
    return json.dumps({"title": "Do homework"} | fields).encode()


def of_size(size: int) -> bytes:
    """A valid todo, padded with white space to `size` bytes."""
    return todo().ljust(size)


def assert_problem(response: httpx.Response, status: int, *fields: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "errors"}
    assert problem["status"] == status
    assert [*fields] == [error["field"] for error in problem["errors"]]
    assert all(error["message"] for error in problem["errors"])
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    "content",
    [
        todo(title="x" * 255),
        todo(title=" \t\n" + "x" * 255 + "\u3000"),
        todo(title="\U0001f4da" * 255),
        todo(description="d" * 10_000),
        todo(description=""),
        todo(description=None),
        of_size(MAX_BODY_BYTES),
    ],
    ids=lambda content: f"{len(content)} bytes",
)
def test_the_limits_themselves_are_allowed(post: Post, content: bytes) -> None:
    assert post(content).status_code == PASSED_VALIDATION


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (todo(title="x" * 256), ["title"]),
        (todo(title=" \t\n"), ["title"]),
        (todo(title=5), ["title"]),
        (todo(title=None), ["title"]),
        (todo(title="a\0b"), ["title"]),
        (todo(title="\ud800"), ["title"]),
        (todo(description="d" * 10_001), ["description"]),
        (todo(description=["x"]), ["description"]),
        (todo(description="a\0"), ["description"]),
        (todo(description="\udfff"), ["description"]),
        (todo(title="\0", description="\0"), ["title", "description"]),
        (todo(title="\ud800", description="\udc00"), ["title", "description"]),
        (todo(priority=1), ["priority"]),
        (todo(id="01890a5d-ac96-774b-bcce-b302099a8057"), ["id"]),
        (b'{"description": "x"}', ["title"]),
        (b'[{"title": "x"}]', ["body"]),
        (b"null", ["body"]),
    ],
)
def test_a_wrong_field_is_named(post: Post, content: bytes, fields: list[str]) -> None:
    assert_problem(post(content), 422, *fields)


def test_a_field_name_that_no_text_can_hold_is_refused(post: Post) -> None:
    response = post(b'{"title": "x", "\\ud800": 1}')
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"


def test_a_long_field_name_gets_a_short_answer(post: Post) -> None:
    response = post(todo(**{"n" * 60_000: 1}))
    assert_problem(response, 422, "n" * 100)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"title=x", b'{"title": "x"} {}', b'{"title": "\xff"}', b'{"title": "a\x00b"}', b"[" * 20],
    ids=lambda content: repr(content[:16]),
)
def test_a_body_that_is_not_json_is_unreadable(post: Post, content: bytes) -> None:
    assert_problem(post(content), 400, "body")


def test_one_byte_too_many_is_refused(post: Post) -> None:
    assert_problem(post(of_size(MAX_BODY_BYTES + 1)), 413, "body")


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY_BYTES, PASSED_VALIDATION), (MAX_BODY_BYTES + 1, 413)])
def test_a_chunked_body_is_counted_as_it_comes(post: Post, size: int, status: int) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        content = of_size(size)
        for start in range(0, size, 10_000):
            yield content[start : start + 10_000]

    assert post(chunks()).status_code == status


def test_an_endless_body_is_not_read_to_its_end(post: Post) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 10_000

    assert_problem(post(endless()), 413, "body")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"', "application/json;"],
)
def test_json_is_taken_under_its_names(post: Post, content_type: str) -> None:
    assert post(todo(), {"Content-Type": content_type}).status_code == PASSED_VALIDATION


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonx",
        "application/vnd.api+json",
        "multipart/form-data; boundary=application/json",
    ],
)
def test_another_content_type_is_refused(post: Post, content_type: str) -> None:
    assert_problem(post(todo(), {"Content-Type": content_type}), 415, "Content-Type")


def test_a_compressed_body_is_refused(post: Post) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert_problem(post(todo(), headers), 415, "Content-Encoding")
    assert post(todo(), headers | {"Content-Encoding": "identity"}).status_code == PASSED_VALIDATION


def test_a_missing_content_type_is_refused(post: Post) -> None:
    assert_problem(post(todo(), {}), 415, "Content-Type")


def test_the_framework_s_own_errors_have_the_same_form(app: FastAPI, run: Callable[..., None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert_problem(await client.get("/nowhere"), 404)
        wrong_method = await client.put("/new/", content=todo())
        assert_problem(wrong_method, 405)
        assert wrong_method.headers["allow"] == "POST"

    run(app, scenario)


def test_an_unexpected_error_shows_nothing_of_the_inside(app: FastAPI, run: Callable[..., None]) -> None:
    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("the inside")

    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.get("/boom")
        assert_problem(response, 500)
        assert "the inside" not in response.text

    run(app, scenario)


@pytest.mark.parametrize(("path", "method"), [("/new/", "publish"), ("/new/batch/", "publish_all")])
def test_an_unexpected_error_on_the_fast_path_is_answered_likewise(
    app: FastAPI, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch, path: str, method: str
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr(Publisher, method, fail)

    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post(path, json=[{"title": "x"}] if "batch" in path else {"title": "x"})
        assert_problem(response, 500)
        assert "the inside" not in response.text

    run(app, scenario)


def test_behind_a_root_path_the_router_takes_over(app: FastAPI) -> None:
    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path="/edge")
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://edge") as client,
        ):
            return await client.post("/edge/new/", json={"title": ""})

    assert_problem(asyncio.run(post()), 422, "title")


@pytest.mark.parametrize("path", ["/new", "/new/", "/new/batch", "/new/batch/"])
def test_both_spellings_of_the_path_answer_without_a_redirect(
    app: FastAPI, run: Callable[..., None], path: str
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        content = [{"title": "Do homework"}] if "batch" in path else {"title": "Do homework"}
        response = await client.post(path, json=content, follow_redirects=False)
        assert response.status_code == PASSED_VALIDATION

    run(app, scenario)
