"""Editors who send If-Match never overwrite each other unnoticed; readers who send If-None-Match get nothing twice."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client

from tests.support.todos import make_todos
from todos.models import Todo

JSON = "application/json"
EDITORS, EDITS = 4, 8


@pytest.fixture
def url(db: None) -> str:
    return f"/api/todos/{make_todos(1)[0].id}/"


def tag_of(client: Client, url: str) -> str:
    return str(client.get(url)["ETag"])


def test_the_tag_changes_with_the_todo_and_only_with_it(client: Client, url: str) -> None:
    first = tag_of(client, url)
    assert first == tag_of(client, url)
    changed = client.patch(url, {"is_done": True}, content_type=JSON)["ETag"]
    assert changed == tag_of(client, url) != first
    # As the admin's actions do, and within the same microsecond.
    Todo.objects.update(updated_at=datetime(2026, 1, 1, tzinfo=UTC))
    before = tag_of(client, url)
    Todo.objects.update(title="other")
    assert before != tag_of(client, url)


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_what_is_known_is_not_sent_again(client: Client, url: str, form: str) -> None:
    answer = client.get(url, headers={"if-none-match": form.format(tag_of(client, url))})
    assert (304, b"", tag_of(client, url)) == (answer.status_code, answer.content, answer["ETag"])


def test_what_has_changed_is_sent(client: Client, url: str) -> None:
    tag = tag_of(client, url)
    Todo.objects.update(title="other")
    assert "other" == client.get(url, headers={"if-none-match": tag}).json()["title"]


@pytest.mark.parametrize("form", ["{}", '"other", {}', "*"])
def test_the_current_tag_lets_a_change_pass(client: Client, url: str, form: str) -> None:
    def match() -> dict[str, str]:
        return {"if-match": form.format(tag_of(client, url))}

    assert 200 == client.put(url, {"title": "a"}, content_type=JSON, headers=match()).status_code
    assert 200 == client.patch(url, {"title": "b"}, content_type=JSON, headers=match()).status_code
    assert 204 == client.delete(url, headers=match()).status_code


@pytest.mark.parametrize("form", ["stale", "W/{}", "{}x", "unquoted", ""])
def test_no_other_tag_does(client: Client, url: str, form: str) -> None:
    stale = tag_of(client, url)
    Todo.objects.update(title="theirs")
    headers = {"if-match": stale if form == "stale" else form.format(tag_of(client, url))}
    for answer in (
        client.put(url, {"title": "mine"}, content_type=JSON, headers=headers),
        client.patch(url, {"title": "mine"}, content_type=JSON, headers=headers),
        client.delete(url, headers=headers),
    ):
        assert (412, "application/problem+json") == (answer.status_code, answer["Content-Type"])
    assert ["theirs"] == list(Todo.objects.values_list("title", flat=True))


@pytest.mark.django_db(transaction=True)
def test_no_edit_is_lost_among_many_editors() -> None:
    url = f"/api/todos/{make_todos(1, title='')[0].id}/"

    def edit(editor: int) -> int:
        """Adds letters to the title; reads again whenever another editor was faster."""
        client, conflicts, left = Client(), 0, EDITS
        while left:
            read = client.get(url)
            title = f"{read.json()['title']} {editor}"
            written = client.patch(url, {"title": title}, content_type=JSON, headers={"if-match": read["ETag"]})
            assert written.status_code in (200, 412)
            left, conflicts = (left - 1, conflicts) if written.status_code == 200 else (left, conflicts + 1)
        connection.close()
        return conflicts

    with ThreadPoolExecutor(EDITORS) as pool:
        conflicts = sum(pool.map(edit, range(1, EDITORS + 1)))

    written = Todo.objects.get().title.split()[1:]
    assert {str(editor): EDITS for editor in range(1, EDITORS + 1)} == {
        name: written.count(name) for name in {*written}
    }
    assert conflicts > 0  # or nothing was shown


@pytest.mark.django_db(transaction=True)
def test_edits_of_different_fields_go_together_without_a_tag() -> None:
    """The row is locked from reading to writing."""
    url = f"/api/todos/{make_todos(1)[0].id}/"

    def edit(field: str) -> None:
        client = Client()
        for number in range(10):
            client.patch(url, {field: f"{field} {number}"}, content_type=JSON)
            if f"{field} {number}" != client.get(url).json()[field]:
                raise AssertionError(f"{field} {number} was overwritten")
        connection.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(edit, ["title", "description"]))
