"""Every error under /api/ has one form, whichever layer raised it: application/problem+json, as at the edge."""

import json
from http import HTTPStatus
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from edge_api.problems import Problem
from tests.support.todos import make_todos
from todos.api import views
from todos.models import Todo

LIST = "/api/todos/"
MEMBERS = list(json.loads(bytes(Problem(HTTPStatus.NOT_FOUND, "x").response().body)))


@pytest.fixture
def todo(db: None) -> Todo:
    return make_todos(1)[0]


def assert_problem(answer: Any, status: int, *fields: str) -> dict[str, Any]:
    assert (status, "application/problem+json") == (answer.status_code, answer["Content-Type"])
    body: dict[str, Any] = answer.json()
    assert MEMBERS == list(body)
    assert ("about:blank", HTTPStatus(status).phrase, status) == (body["type"], body["title"], body["status"])
    assert [*fields] == [error["field"] for error in body["errors"]]
    assert body["detail"]
    return body


def test_what_is_wrong_with_a_request(client: Client, todo: Todo) -> None:
    url = f"{LIST}{todo.id}/"
    assert_problem(client.get(f"{LIST}?done=1&page_size=x"), 400, "done")
    assert_problem(client.patch(url, "{", content_type="application/json"), 400, "body")
    assert_problem(client.patch(url, "[]", content_type="application/json"), 400, "body")
    assert_problem(client.put(url, {"description": 1}, content_type="application/json"), 400, "title", "description")
    assert_problem(client.get(f"{LIST}nothing/"), 404)
    assert "GET" in client.post(LIST)["Allow"]
    assert_problem(client.post(LIST), 405)
    assert_problem(client.get(url, headers={"accept": "image/png"}), 406)
    assert_problem(client.patch(url, " " * 70_000, content_type="application/json"), 413)
    assert_problem(client.patch(url, "title=x", content_type="text/plain"), 415)


@pytest.mark.parametrize("debug", [False, True])
def test_what_only_django_notices(client: Client, settings: Settings, debug: bool) -> None:
    settings.DEBUG = debug
    assert_problem(client.get("/api/nothing/"), 404)
    assert_problem(client.get(LIST, headers={"host": "elsewhere.example"}), 400)


@pytest.mark.parametrize("debug", [False, True])
def test_a_failure_of_the_inside_says_nothing_of_it(
    client: Client, todo: Todo, settings: Settings, monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    settings.DEBUG, client.raise_request_exception = debug, False
    monkeypatch.setattr(views, "not_modified_or", fail)
    assert "secret" not in assert_problem(client.get(f"{LIST}{todo.id}/"), 500)["detail"]


def test_people_get_pages(client: Client, todo: Todo) -> None:
    answer = client.get(f"{LIST}?page_size=x", headers={"accept": "text/html"})
    assert (400, "text/html; charset=utf-8") == (answer.status_code, answer["Content-Type"])
    assert "A valid integer is required." in answer.content.decode()
    assert "text/html" in client.get("/nothing/")["Content-Type"]


def test_a_path_without_its_last_slash_leads_there(client: Client, todo: Todo) -> None:
    assert LIST == client.get(LIST.rstrip("/"))["Location"]


def test_no_more_errors_than_help(client: Client, todo: Todo) -> None:
    body = {"action": "done", "ids": ["x"] * 100}
    answer = client.post(f"{LIST}bulk/", body, content_type="application/json")
    assert_problem(answer, 400, *(f"ids.{number}" for number in range(20)))


@pytest.mark.django_db
def test_other_origins_only_where_they_are_named(client: Client, settings: Settings) -> None:
    headers = {"origin": "https://todo.example"}
    assert "access-control-allow-origin" not in client.get(LIST, headers=headers).headers
    settings.CORS_ALLOWED_ORIGINS = ["https://todo.example"]
    for url in (LIST, "/api/nothing/"):
        assert "https://todo.example" == client.get(url, headers=headers)["Access-Control-Allow-Origin"]
    assert "access-control-allow-origin" not in client.get("/healthz", headers=headers).headers
