"""The parameters of GET /api/todos/: each page costs the same in a table of any size."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.plans import nodes_of, rows_read
from tests.support.sessions import open_transaction
from tests.support.todos import START, make_todos
from todos import selectors
from todos.api import pagination
from todos.models import Todo
from todos.owners import owner_of

pytestmark = pytest.mark.django_db
LIST = "/api/todos/"


def numbers(page: Any) -> list[int]:
    return [todo["source_offset"] for todo in page["results"]]


def pages(client: Client, link: str = "next", *, first: str = "", **asked: Any) -> list[list[int]]:
    """The numbers on each page, following its links to the end."""
    found, url = [], first or f"{LIST}?{urlencode(asked)}"
    while url:
        page = client.get(url).json()
        found.append(numbers(page))
        url = page[link]
    return found


def last_url(client: Client, **asked: Any) -> str:
    url = f"{LIST}?{urlencode(asked)}"
    while following := client.get(url).json()["next"]:
        url = following
    return url


@pytest.mark.parametrize("apart", [timedelta(0), timedelta(seconds=1)])
def test_either_order_pages_there_and_back(client: Client, apart: timedelta) -> None:
    make_todos(7, apart=apart)
    for ordering, there in [("-created_at", [[6, 5, 4], [3, 2, 1], [0]]), ("created_at", [[0, 1, 2], [3, 4, 5], [6]])]:
        asked: dict[str, Any] = {"ordering": ordering, "page_size": 3}
        assert there == pages(client, **asked)
        assert there[::-1] == pages(client, "previous", first=last_url(client, **asked))


def test_a_range_holds_its_beginning_and_not_its_end(client: Client) -> None:
    make_todos(10)
    after, before = (START + timedelta(seconds=3)).isoformat(), (START + timedelta(seconds=7)).isoformat()
    assert [[6, 5], [4, 3]] == pages(client, created_after=after, created_before=before, page_size=2)
    assert [[3, 4, 5, 6]] == pages(client, created_after=after, created_before=before, ordering="created_at")
    assert [[]] == pages(client, created_after=before, created_before=after)


@pytest.mark.parametrize(
    ("moment", "found"),
    [("2026-01-01T02:00:05+02:00", [9, 8, 7, 6, 5]), ("0001-01-01T00:00:00+23:59", [*range(9, -1, -1)]),
     ("9999-12-31T23:59:59-23:59", []), ("2026-01-01t00:00:05z", [9, 8, 7, 6, 5])],
)  # fmt: skip
def test_a_moment_may_have_any_offset_and_any_year(client: Client, moment: str, found: list[int]) -> None:
    make_todos(10)
    assert [found] == pages(client, created_after=moment)


def test_done_and_not_done_are_both_found_whole(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "WINDOW", 30)
    make_todos(80)
    Todo.objects.exclude(source_offset__in=[1, 79]).update(is_done=True)
    assert [[79], [], [1]] == pages(client, is_done="false")
    assert [[*range(78, 28, -1)], [*range(28, 1, -1), 0]] == pages(client, is_done="true")


def test_a_search_goes_through_the_list_window_by_window(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "WINDOW", 40)
    make_todos(130)
    Todo.objects.filter(source_offset__in=[3, 5, 100, 129]).update(title="Find 100%_Me")
    there = [[129, 100], [], [], [5, 3]]
    assert there == pages(client, search="100%_me")
    assert there[::-1] == pages(client, "previous", first=last_url(client, search="100%_me"))
    assert [[3, 5], [], [100], [129]] == pages(client, search="find", ordering="created_at")


def test_filters_go_together(client: Client) -> None:
    make_todos(30)
    Todo.objects.filter(source_offset__in=[11, 21, 22]).update(is_done=True)
    after = (START + timedelta(seconds=15)).isoformat()
    assert [[21]] == pages(client, search="1", is_done="true", created_after=after)
    assert [[19, 18, 17, 16, 15]] == pages(client, search="1", is_done="false", created_after=after)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ("is_done=yes", "is_done"), ("is_done=", "is_done"), ("is_done=True", "is_done"),
        ("created_after=2026-01-01", "created_after"), ("created_after=2026-01-01T00:00:00", "created_after"),
        ("created_before=yesterday", "created_before"), ("created_before=2026-01-01T00:00:00+02:00", "created_before"),
        ("search=", "search"), (f"search={'x' * 256}", "search"), ("search=a%00b", "search"),
        ("ordering=title", "ordering"), ("ordering=-id", "ordering"),
        ("page_size=0", "page_size"), ("page_size=-1", "page_size"), ("page_size=ten", "page_size"),
        (f"page_size={'9' * 5000}", "page_size"), ("cursor=2", "cursor"), ("cursor=", "cursor"),
        ("done=true", "done"), ("search=a&search=b", "search"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_by_name(client: Client, asked: str, field: str) -> None:
    answer = client.get(f"{LIST}?{asked}")
    assert (400, [field]) == (answer.status_code, [error["field"] for error in answer.json()["errors"]])


def test_a_page_holds_no_more_than_a_thousand(client: Client) -> None:
    make_todos(1001)
    assert [1000, 1] == [len(page) for page in pages(client, page_size=5000)]


# --- The price


@pytest.fixture
def many() -> None:
    """Nearly all of them done, which is the worst for a search of those that are not."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO todos_todo (id, title, description, is_done, created_at, updated_at, source_partition,"
            " source_offset) SELECT gen_random_uuid(), 'todo ' || n, '', n <> 60000, now() - n * interval '1 s', now(),"
            " 0, n FROM generate_series(1, 60000) n"
        )
        cursor.execute("ANALYZE todos_todo")


def nodes_read(client: Client, url: str) -> list[dict[str, Any]]:
    """Of all plans together."""
    with CaptureQueriesContext(connection) as queries:
        assert 200 == client.get(url).status_code
    return [node for asked in queries if "FROM" in asked["sql"] for node in nodes_of(asked["sql"])]


@pytest.mark.parametrize("ordering", ["-created_at", "created_at"])
@pytest.mark.parametrize(
    ("asked", "limit"),
    [
        ({}, 100),
        ({"is_done": "true"}, 100),
        ({"is_done": "false"}, 2 * pagination.WINDOW + 100),
        ({"search": "not there"}, 2 * pagination.WINDOW + 100),
        ({"search": "not there", "is_done": "true"}, 2 * pagination.WINDOW + 100),
        ({"created_after": "2026-01-01T00:00:00Z", "created_before": "2100-01-01T00:00:00Z"}, 100),
    ],
)
@pytest.mark.usefixtures("many")
def test_no_page_reads_more_than_its_share(client: Client, asked: dict[str, str], limit: int, ordering: str) -> None:
    url = f"{LIST}?{urlencode(asked | {'ordering': ordering})}"
    for page in (url, client.get(url).json()["next"]):
        nodes = nodes_read(client, page)
        assert rows_read(nodes) <= limit
        assert "Seq Scan" not in {node["Node Type"] for node in nodes}


def test_no_page_counts_or_skips(client: Client) -> None:
    make_todos(100)
    for asked in ("?page_size=3", "?search=todo&page_size=3", "?is_done=false&page_size=3"):
        with CaptureQueriesContext(connection) as queries:
            client.get(client.get(LIST + asked).json()["next"])
        assert [] == [sql for each in queries if re.search("COUNT|OFFSET", sql := each["sql"])]


# --- Titles that are made to be searched slowly

SLOWEST = "b" + "a" * 127  # for titles of 255 times the same letter


@pytest.fixture
def hostile() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO todos_todo (id, title, description, is_done, created_at, updated_at, source_partition,"
            " source_offset) SELECT gen_random_uuid(), repeat('a', 255), '', false, now() - n * interval '1 s', now(),"
            " 0, n FROM generate_series(1, 20000) n"
        )
        cursor.execute("ANALYZE todos_todo")


@pytest.mark.parametrize("search", [SLOWEST, SLOWEST[::-1]])
@pytest.mark.usefixtures("hostile")
def test_a_search_of_them_reads_a_window_and_compares_no_patterns(client: Client, search: str) -> None:
    nodes = nodes_read(client, f"{LIST}?search={search}")
    (tested,) = [node for node in nodes if "title" in node.get("Filter", "")]
    assert pagination.WINDOW == tested["Actual Rows"] + tested["Rows Removed by Filter"]
    assert "strpos(" in tested["Filter"]
    assert "~~" not in tested["Filter"]


@pytest.mark.usefixtures("hostile")
def test_a_search_that_takes_too_long_is_ended_and_says_what_to_do(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "SEARCH_SECONDS", 0.001)
    response = client.get(f"{LIST}?search={SLOWEST}")
    assert (503, "5") == (response.status_code, response["Retry-After"])
    assert "Narrow it to a shorter time of creation" in response.json()["detail"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), pg_sleep(0.1) FROM todos_todo")  # without the limit


def test_a_client_searches_once_at_a_time_and_holds_up_no_other(client: Client) -> None:
    """A client is an owner or, without sign-in, an address."""
    make_todos(1)
    olga, otto = User.objects.create_user("olga"), User.objects.create_user("otto")
    here, neighbour, there = "2001:db8:1:2::7", "2001:db8:1:2::8", "192.0.2.7"

    def search(address: str, asked: str = "search=todo") -> Any:
        return client.get(f"{LIST}?{asked}", REMOTE_ADDR=address)

    with open_transaction() as cursor:
        for searcher in ("2001:db8:1:2::", owner_of(otto)):
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", selectors.search_lock(searcher))
        for address in (here, neighbour):
            response = search(address)
            assert (429, "1") == (response.status_code, response["Retry-After"])
            assert "Another search of yours is running" in response.json()["detail"]
        assert [200, 200] == [search(here, asked).status_code for asked in ("", "is_done=false")]
        assert 200 == search(there).status_code
        client.force_login(otto)
        assert 429 == search(there).status_code
        client.force_login(olga)
        assert 200 == search(here).status_code
    client.logout()
    assert [0] == numbers(search(here).json())
