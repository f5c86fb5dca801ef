"""GET, PUT, PATCH, DELETE on /api/todos/; new todos come through the edge."""

from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from edge_api.contract import DESCRIPTION_MAX, MAX_BODY_BYTES, TITLE_MAX
from tests.support.todos import make_todos
from todos.models import Todo

pytestmark = pytest.mark.django_db
LIST = "/api/todos/"


@pytest.fixture
def todo() -> Todo:
    return make_todos(1)[0]


def url(todo: Todo) -> str:
    return f"{LIST}{todo.id}/"


def follow(client: Client, first: str, link: str) -> list[list[str]]:
    """The titles of each page, from `first` on along `link`."""
    pages, page_url = [], first
    while page_url:
        page = client.get(page_url).json()
        pages.append([todo["title"] for todo in page["results"]])
        page_url = page[link]
    return pages


def test_a_todo_is_shown_with_its_position(client: Client, todo: Todo) -> None:
    shown = client.get(url(todo)).json()

    assert shown.pop("stored_at") is not None
    assert shown.pop("updated_at") is not None
    assert shown == {
        "id": str(todo.id),
        "title": "todo 0",
        "description": "",
        "is_done": False,
        "created_at": "2026-01-01T00:00:00Z",
        "source_partition": 0,
        "source_offset": 0,
    }


def test_the_list_is_newest_first_and_pages_in_both_directions(client: Client) -> None:
    make_todos(7)
    titles = [f"todo {number}" for number in reversed(range(7))]

    forward = follow(client, f"{LIST}?page_size=3", "next")
    assert forward == [titles[:3], titles[3:6], titles[6:]]

    page, last = client.get(f"{LIST}?page_size=3").json(), ""
    while page["next"]:
        last, page = page["next"], client.get(page["next"]).json()
    assert follow(client, last, "previous") == [titles[6:], titles[3:6], titles[:3]]


def test_pages_hold_where_thousands_share_a_moment(client: Client) -> None:
    make_todos(2500, apart=timedelta(0))

    pages = follow(client, f"{LIST}?page_size=1000", "next")

    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert len({title for page in pages for title in page}) == 2500


def test_a_new_todo_does_not_shift_the_next_page(client: Client) -> None:
    make_todos(4)
    first = client.get(f"{LIST}?page_size=2").json()
    Todo.objects.create(
        id=UUID(int=99), title="new", created_at="2026-02-01T00:00:00Z", source_partition=0, source_offset=99
    )

    second = client.get(first["next"]).json()

    assert [todo["title"] for todo in second["results"]] == ["todo 1", "todo 0"]


def test_a_page_costs_one_query_and_never_counts(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_todos(10)
    with django_assert_num_queries(1) as queries:
        page = client.get(f"{LIST}?page_size=3").json()
    assert "COUNT" not in queries.captured_queries[0]["sql"]
    with django_assert_num_queries(1) as queries:
        client.get(page["next"])
    assert "OFFSET" not in queries.captured_queries[0]["sql"]


@pytest.mark.parametrize("cursor", ["x", "bmlj", "w6k=", "\x00", "a" * 5000, "bjIwMjYtMDEtMDF8eA=="])
def test_a_foreign_cursor_is_refused(client: Client, cursor: str) -> None:
    assert 400 == client.get(LIST, {"cursor": cursor}).status_code


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-01T00:00:00+16:00",
        "2026-01-01T00:00:00-23:59",
        "2026-01-01T00:00:00+23:59:59.999999",
    ],
)
def test_a_cursor_may_have_any_offset_from_utc(client: Client, todo: Todo, moment: str) -> None:
    assert client.get(LIST, {"cursor": cursor_at(moment)}).status_code == 200


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1969-12-31T00:00:00Z"])
def test_a_cursor_out_of_range_is_refused(client: Client, todo: Todo, moment: str) -> None:
    assert 400 == client.get(LIST, {"cursor": cursor_at(moment)}).status_code


def cursor_at(moment: str) -> str:
    return urlsafe_b64encode(f"n{moment}|{UUID(int=1)}".encode()).decode()


def test_an_empty_list_has_no_links(client: Client) -> None:
    assert client.get(LIST).json() == {"next": None, "previous": None, "results": []}


def test_put_and_patch_change_what_people_may_change(client: Client, todo: Todo) -> None:
    put = client.put(
        url(todo), {"title": " new ", "description": "d", "is_done": True}, content_type="application/json"
    )
    assert (put.status_code, put.json()["title"], put.json()["is_done"]) == (200, "new", True)

    patch = client.patch(url(todo), {"is_done": False}, content_type="application/json")
    assert (patch.status_code, patch.json()["title"], patch.json()["is_done"]) == (200, "new", False)

    ignored = client.patch(
        url(todo), {"id": str(UUID(int=5)), "source_offset": 7, "created_at": None}, content_type="application/json"
    )
    assert (ignored.json()["id"], ignored.json()["source_offset"]) == (str(todo.id), 0)


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"title": ""}, "title"),
        ({"title": "   "}, "title"),
        ({"title": "x" * (TITLE_MAX + 1)}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"title": "\ud800"}, "title"),
        ({"title": None}, "title"),
        ({"title": ["x"]}, "title"),
        ({"title": 1}, "title"),
        ({"description": 1.5}, "description"),
        ({"description": None}, "description"),
        ({"description": "x" * (DESCRIPTION_MAX + 1)}, "description"),
        ({"description": "\0"}, "description"),
        ({"is_done": "perhaps"}, "is_done"),
        ({"is_done": "true"}, "is_done"),
        ({"is_done": 1}, "is_done"),
        ({"is_done": None}, "is_done"),
    ],
)
def test_a_bad_value_is_refused_by_name(client: Client, todo: Todo, fields: dict[str, Any], at_fault: str) -> None:
    response = client.patch(url(todo), fields, content_type="application/json")

    assert response.status_code == 400
    assert [at_fault] == [error["field"] for error in response.json()["errors"]]
    assert Todo.objects.get().title == "todo 0"


def test_the_limits_themselves_are_accepted(client: Client, todo: Todo) -> None:
    fields = {"title": "x" * TITLE_MAX, "description": "y" * DESCRIPTION_MAX}
    assert client.patch(url(todo), fields, content_type="application/json").status_code == 200


@pytest.mark.parametrize("text", ["  a\tb\r\nc \n", "\x1f\u200b\x1f", "\x01" * TITLE_MAX])
@pytest.mark.parametrize("method", ["put", "patch"])
def test_what_was_read_can_be_written_back(client: Client, todo: Todo, text: str, method: str) -> None:
    title, description = text.strip(" \n"), (text * DESCRIPTION_MAX)[:DESCRIPTION_MAX]
    Todo.objects.update(title=title, description=description)
    shown = client.get(url(todo))

    written = getattr(client, method)(url(todo), shown.content, content_type="application/json")

    assert written.status_code == 200
    assert written.json() | {"updated_at": None} == shown.json() | {"updated_at": None}
    assert Todo.objects.values_list("title", "description").get() == (title, description)


@pytest.mark.parametrize(
    ("body", "at_fault"),
    [
        ("[" * 50_000, "body"),
        ('{"title": ' + "[" * 5_000 + "]" * 5_000 + "}", "body"),
        ('{"title": ' + "[" * 500 + "]" * 500 + "}", "title"),
        ('{"title": 1e999}', "title"),
        ('{"title": 1' + "0" * 5_000 + "}", "body"),
    ],
)
def test_hostile_json_is_refused(client: Client, todo: Todo, body: str, at_fault: str) -> None:
    response = client.patch(url(todo), body, content_type="application/json")
    assert (400, [at_fault]) == (response.status_code, [error["field"] for error in response.json()["errors"]])


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413), (3_000_000, 413)])
def test_the_body_may_be_as_large_as_the_edges(client: Client, todo: Todo, size: int, status: int) -> None:
    response = client.patch(url(todo), '{"is_done": true}'.ljust(size), content_type="application/json")

    assert response.status_code == status
    assert (status == 200) or response.json()["detail"] == "The body must be at most 65,536 bytes."


def test_delete_is_final(client: Client, todo: Todo) -> None:
    assert client.delete(url(todo)).status_code == 204
    assert client.get(url(todo)).status_code == 404


@pytest.mark.parametrize("path", [f"{LIST}{UUID(int=404)}/", f"{LIST}not-a-uuid/"])
def test_an_unknown_todo_is_not_found(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_creating_here_is_not_allowed(client: Client) -> None:
    assert client.post(LIST, {"title": "x"}, content_type="application/json").status_code == 405


def test_the_browsable_api_shows_the_list(client: Client) -> None:
    make_todos(1)
    page = client.get(LIST, headers={"accept": "text/html"})
    assert (page.status_code, b"todo 0" in page.content) == (200, True)


def test_probes_answer(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok", "database": "ok"}


@pytest.mark.parametrize("probe", ["/healthz", "/readyz"])
def test_probes_are_only_read(probe: str) -> None:
    assert Client(enforce_csrf_checks=True).post(probe).status_code == 405


def test_browsers_get_no_icon_and_the_log_no_warning(client: Client) -> None:
    assert client.get("/favicon.ico").status_code == 204
