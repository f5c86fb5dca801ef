"""The list of todos in the admin: every page, search and export costs the same in a table of any size."""

import csv
import io
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.plans import nodes_of, rows_read
from tests.support.sessions import open_transaction
from tests.support.todos import make_todos
from todos.admin import todo_actions, todo_list
from todos.models import Batch, PartitionLedger, Todo
from todos.owners import owner_of
from todos.selectors import Search, SearchTooSlow, beyond, read_page, search_lock

pytestmark = pytest.mark.django_db
TODOS = "/admin/todos/todo/"


@pytest.fixture
def admin(admin_client: Client) -> Client:
    return admin_client


def shown(client: Client, query: str = "") -> Any:
    return client.get(TODOS + query).context["cl"]


def numbers(cl: Any) -> list[int]:
    return [todo.source_offset for todo in cl.result_list]


def pages(client: Client, query: str = "", *, link: str = "older") -> list[list[int]]:
    """The numbers on each page, following its links to the end."""
    found, cl = [], shown(client, query)
    found.append(numbers(cl))
    while following := getattr(cl, link):
        cl = shown(client, following)
        found.append(numbers(cl))
    return found


@pytest.mark.parametrize("apart", [timedelta(0), timedelta(seconds=1)])
def test_the_pages_hold_every_todo_once_newest_first_there_and_back(admin: Client, apart: timedelta) -> None:
    make_todos(120, apart=apart)
    assert [list(range(119, 69, -1)), list(range(69, 19, -1)), list(range(19, -1, -1))] == pages(admin)

    oldest = shown(admin, shown(admin, shown(admin).older).older)
    assert [list(range(19, -1, -1)), list(range(69, 19, -1)), list(range(119, 69, -1))] == [
        numbers(oldest), numbers(newer := shown(admin, oldest.newer)), numbers(newest := shown(admin, newer.newer)),
    ]  # fmt: skip
    assert ("", False) == (newest.newer, newest.older == "")


def test_a_search_looks_through_the_whole_table_window_by_window(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(todo_list, "WINDOW", 40)
    make_todos(130)
    Todo.objects.filter(source_offset__in=[3, 5, 100, 129]).update(title="Find Me")

    assert [[129, 100], [], [], [5, 3]] == pages(admin, "?q=find+me")
    last = shown(admin, shown(admin, shown(admin, shown(admin, "?q=find+me").older).older).older)
    assert [5, 3] == numbers(last)
    back = shown(admin, last.newer)
    assert [[], [], [129, 100]] == [
        numbers(back), numbers(back := shown(admin, back.newer)), numbers(shown(admin, back.newer)),
    ]  # fmt: skip


def test_a_window_full_of_matches_has_pages_too(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(todo_list, "WINDOW", 70)
    make_todos(160)
    found = pages(admin, "?q=todo")
    assert list(range(159, -1, -1)) == [number for page in found for number in page]


def test_the_filters_of_done_find_all_of_them(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(todo_list, "WINDOW", 30)
    make_todos(80)
    Todo.objects.exclude(source_offset__in=[1, 79]).update(is_done=True)
    assert [79, 1] == [number for page in pages(admin, "?done=no") for number in page]
    assert [list(range(78, 28, -1)), [*range(28, 1, -1), 0]] == pages(admin, "?done=yes")


def test_an_owner_leads_to_all_that_is_theirs(admin: Client) -> None:
    make_todos(80)
    olga = owner_of(User.objects.create_user("olga"))
    Todo.objects.filter(source_offset__lt=60).update(owner=olga)
    Todo.objects.filter(source_offset=3).update(owner="' & =")
    assert f'href="?owner={olga}"' in admin.get(f"{TODOS}?q=todo+5").content.decode()
    assert [*range(59, 3, -1), 2, 1, 0] == [number for page in pages(admin, f"?owner={olga}") for number in page]
    assert "olga" in admin.get(f"{TODOS}?owner={olga}").content.decode()
    assert [3] == numbers(shown(admin, "?owner=%27+%26+%3D"))
    assert [] == numbers(shown(admin, f"?owner={9**40}"))


def test_an_id_is_found_at_once_and_a_strange_cursor_is_refused(admin: Client) -> None:
    todos = make_todos(3)
    assert [1] == numbers(shown(admin, f"?q=+{todos[1].id}+"))
    for cursor in ("2", "x", "bjIwMjYtMDEtMDF8"):
        assert 400 == admin.get(f"{TODOS}?p={cursor}").status_code


def test_no_page_counts_skips_or_sorts_the_table(admin: Client) -> None:
    make_todos(20)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO todos_todo SELECT gen_random_uuid(), 't', '', n % 2 = 0, now() - n * interval '1 s', now(),"
            " now(), 0, n FROM generate_series(1, 30000) n"
        )
        cursor.execute("ANALYZE todos_todo")
    older = shown(admin, shown(admin).older).older
    for query in ("", older, "?done=yes", "?created_at__year=2026&created_at__month=1"):
        with CaptureQueriesContext(connection) as queries:
            admin.get(TODOS + query)
        asked = [query["sql"] for query in queries if "todos_todo" in query["sql"] and "EXPLAIN" not in query["sql"]]
        assert [] == [sql for sql in asked if "COUNT(" in sql or "OFFSET" in sql]
        assert [] == [sql for sql in asked if re.search(r"Seq Scan on todos_todo|  Sort", plan_of(sql))]


def plan_of(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        return "\n".join(line for (line,) in cursor.fetchall())


def test_the_number_of_todos_is_exact_on_one_page_and_estimated_beyond(admin: Client) -> None:
    make_todos(3)
    assert "3 todos" in admin.get(TODOS).content.decode()
    make_todos_more(200)
    assert re.search(r"About [\d,]+ todos", admin.get(TODOS).content.decode())


def make_todos_more(count: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO todos_todo SELECT gen_random_uuid(), 't', '', false, now(), now(), now(), 0, n"
            " FROM generate_series(1, %s) n",
            [count],
        )


# --- Actions


def act(client: Client, action: str, *todos: Todo, query: str = "", **fields: str) -> Any:
    data = {"action": action, "_selected_action": [str(todo.pk) for todo in todos]} | fields
    return client.post(TODOS + query, data)


def test_some_or_all_are_marked_and_only_what_changes_is_touched(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(todo_list, "CHUNK", 7)
    todos = make_todos(60)
    act(admin, "mark_done", *todos[:3])
    assert 3 == Todo.objects.filter(is_done=True).count()
    touched = Todo.objects.get(pk=todos[0].pk).updated_at

    act(admin, "mark_done", todos[0], select_across="1")
    assert 60 == Todo.objects.filter(is_done=True).count()
    assert touched == Todo.objects.get(pk=todos[0].pk).updated_at

    act(admin, "mark_not_done", todos[0], query="?done=yes&q=todo+1", select_across="1")
    assert 11 == Todo.objects.filter(is_done=False).count()  # 1 and 10 to 19
    assert ["3 todos done", "57 todos done", "11 todos not done"] == [
        entry.change_message.replace(" marked", "").rstrip(".") for entry in LogEntry.objects.order_by("pk")
    ]


def test_what_takes_too_long_stops_and_says_so(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(todo_list, "CHUNK", 5)
    monkeypatch.setattr(todo_actions, "MAX_SECONDS", -1.0)
    todos = make_todos(20)
    response = admin.post(
        TODOS, {"action": "mark_done", "_selected_action": [todos[0].pk], "select_across": "1"}, follow=True
    )
    assert "Repeat the action" in response.content.decode()


def test_deleting_asks_first_and_then_deletes_what_was_meant(admin: Client) -> None:
    todos = make_todos(60)
    page = act(admin, "delete_selected", todos[5]).content.decode()
    assert "todo 5" in page
    assert 60 == Todo.objects.count()
    act(admin, "delete_selected", todos[5], post="yes")
    assert 59 == Todo.objects.count()

    page = act(admin, "delete_selected", todos[0], query="?q=todo+1", select_across="1").content.decode()
    assert "All todos of the filtered list" in page
    act(admin, "delete_selected", todos[0], query="?q=todo+1", select_across="1", post="yes")
    assert 48 == Todo.objects.count()


@pytest.mark.parametrize(("permission", "action"), [("view", "mark_done"), ("change", "delete_selected")])
def test_actions_need_their_permission(client: Client, permission: str, action: str) -> None:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename=f"{permission}_todo"))
    client.force_login(user)
    (todo,) = make_todos(1)
    act(client, action, todo, post="yes")
    assert [False] == list(Todo.objects.values_list("is_done", flat=True))


# --- Export


def export(client: Client, action: str, *todos: Todo, query: str = "", **fields: str) -> str:
    response = act(client, action, *todos, query=query, **fields)
    assert isinstance(response, StreamingHttpResponse)
    return b"".join(response).decode()


def test_json_lines_hold_every_field_of_every_todo(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(todo_list, "CHUNK", 25)
    todos = make_todos(80, title='=1+1 "quoted"\nü')
    lines = export(admin, "export_json_lines", todos[0], select_across="1").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [f'=1+1 "quoted"\nü {number}' for number in range(79, -1, -1)] == [row["title"] for row in rows]
    assert {"id": str(todos[79].id), "is_done": False, "created_at": "2026-01-01T00:01:19+00:00"}.items() <= rows[
        0
    ].items()


def test_csv_is_no_formula(admin: Client) -> None:
    (todo,) = make_todos(1, title="=cmd()")
    header, row = csv.reader(io.StringIO(export(admin, "export_csv", todo)))
    assert ("title", "'=cmd() 0") == (header[1], row[1])


def test_an_export_of_a_search_is_the_whole_search(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(todo_list, "WINDOW", 10)
    todos = make_todos(60)
    rows = export(admin, "export_csv", todos[0], query="?q=todo+1", select_across="1").splitlines()
    assert 1 + 11 == len(rows)


@pytest.mark.parametrize(("query", "found"), [("?q=not+there", 0), ("?done=no", 1)])
def test_no_statement_of_an_export_reads_much_more_than_a_window(
    admin: Client, monkeypatch: pytest.MonkeyPatch, query: str, found: int
) -> None:
    """The web process ends a statement after some seconds, in the midst of a download."""
    monkeypatch.setattr(todo_list, "WINDOW", 100)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO todos_todo (id, title, description, is_done, created_at, updated_at, source_partition,"
            " source_offset) SELECT gen_random_uuid(), 't', '', n <> 20000, now() - n * interval '1 s', now(), 0, n"
            " FROM generate_series(1, 20000) n"
        )
        cursor.execute("ANALYZE todos_todo")
    (todo,) = Todo.objects.all()[:1]
    with CaptureQueriesContext(connection) as queries:
        lines = export(admin, "export_json_lines", todo, query=query, select_across="1").splitlines()
    assert found == len(lines)
    asked = [one["sql"] for one in queries if "todos_todo" in one["sql"] and "EXPLAIN" not in one["sql"]]
    assert len(asked) > 200
    # For the last windows PostgreSQL would rather sort what is left.
    assert [] == [sql for sql in asked[: len(asked) * 9 // 10] if rows_read(nodes_of(sql)) > 10 * 100]


def test_an_export_reads_on_only_while_somebody_downloads(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(todo_list, "CHUNK", 10)
    monkeypatch.setattr(todo_actions, "LINES_AT_ONCE", 10)
    todos = make_todos(100)
    response = act(admin, "export_json_lines", todos[0], select_across="1")
    with CaptureQueriesContext(connection) as queries:
        first = next(iter(response))
    assert (1, 10) == (len(queries), len(first.splitlines()))
    response.close()


# --- A search that is refused


def test_a_search_beside_another_of_the_same_user_says_so(admin: Client) -> None:
    make_todos(2)
    searcher = f"user {User.objects.get().pk}"
    with open_transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", search_lock(searcher))
        response = admin.get(TODOS, {"q": "todo"})
        assert [] == numbers(response.context["cl"])
        assert ["Another search of yours is running. Try again when it has ended."] == [
            str(message) for message in response.context["messages"]
        ]
        assert [1, 0] == numbers(shown(admin))
    assert [1, 0] == numbers(shown(admin, "?q=todo"))


def make_slow(monkeypatch: pytest.MonkeyPatch, window: int, *, ends_at: int = -1) -> None:
    """Let windows of more than 10 todos take too long, and any that begins with todo `ends_at` or an older one."""

    def read_slowly(todos: Any, cursor: Any, size: int, *, search: Search | None = None) -> Any:
        if search and (search.window > 10 or beyond(todos, cursor)[0].source_offset <= ends_at):
            raise SearchTooSlow("Too slow.")
        return read_page(todos, cursor, size, search=search)

    monkeypatch.setattr(todo_list, "read_page", read_slowly)
    monkeypatch.setattr(todo_list, "WINDOW", window)
    monkeypatch.setattr(todo_list, "MIN_WINDOW", 10)
    monkeypatch.setattr(todo_list, "CHUNK", 5)
    monkeypatch.setattr(todo_actions, "LINES_AT_ONCE", 5)


def test_a_window_that_takes_too_long_is_searched_in_parts(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_slow(monkeypatch, window=100)
    make_todos(25)
    assert [*range(24, -1, -1)] == [number for page in pages(admin, "?q=todo") for number in page]


def test_an_action_narrows_its_windows_until_they_are_fast_enough(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_slow(monkeypatch, window=10_000)
    todos = make_todos(25)
    assert 1 + 25 == len(export(admin, "export_csv", todos[0], query="?q=todo", select_across="1").splitlines())
    act(admin, "mark_done", todos[0], query="?q=todo", select_across="1")
    assert 25 == Todo.objects.filter(is_done=True).count()


def test_an_action_on_what_cannot_be_searched_to_the_end_says_and_logs_how_far_it_came(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_slow(monkeypatch, window=100, ends_at=4)
    todos = make_todos(25)
    response = act(admin, "mark_done", todos[0], query="?q=todo", select_across="1")
    assert ["20 todos marked done.", "Stopped early: Too slow."] == [
        str(message) for message in get_messages(response.wsgi_request)
    ]
    assert [*range(5, 25)] == sorted(Todo.objects.filter(is_done=True).values_list("source_offset", flat=True))
    assert "20 todos marked done." == LogEntry.objects.get().change_message


def test_an_action_that_fails_logs_how_far_it_came(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def delete(chunk: list[Todo]) -> int:
        if todos[0] in chunk:
            raise RuntimeError("broken")
        return len(chunk)

    todos = make_todos(25)
    monkeypatch.setattr(todo_list, "CHUNK", 5)
    monkeypatch.setattr(todo_actions, "_delete", delete)
    with pytest.raises(RuntimeError, match="broken"):
        act(admin, "delete_selected", todos[0], select_across="1", post="yes")
    assert "20 todos deleted." == LogEntry.objects.get().change_message


def test_an_export_that_cannot_go_on_fails_and_does_not_look_complete(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The web process then closes the connection without the last chunk."""
    make_slow(monkeypatch, window=100, ends_at=4)
    todos = make_todos(25)
    blocks = iter(act(admin, "export_json_lines", todos[0], query="?q=todo", select_across="1"))
    assert 20 == sum(len(next(blocks).splitlines()) for _ in range(4))
    with pytest.raises(SearchTooSlow):
        next(blocks)


# --- One todo


def test_a_todo_names_the_batch_that_stored_it(admin: Client, settings: Any) -> None:
    todos = make_todos(12)
    topic = settings.KAFKA.topic
    PartitionLedger.objects.create(topic=topic, partition=0, next_offset=12)
    Batch.objects.create(topic=topic, partition=0, generation=0, next_offset=0)
    for first in (0, 4, 8):
        batch = Batch.objects.create(
            topic=topic, partition=0, generation=0, first_offset=first, next_offset=first + 4, stored=4
        )
    page = admin.get(f"{TODOS}{todos[8].id}/change/").content.decode()
    assert f'/admin/todos/batch/{batch.pk}/change/">{topic}/0: 8 to 11</a>' in page
    Batch.objects.filter(first_offset__gte=8).delete()
    assert "its batch is no longer recorded" in admin.get(f"{TODOS}{todos[8].id}/change/").content.decode()


def test_an_edit_is_in_the_history_with_both_values(admin: Client) -> None:
    (todo,) = make_todos(1)
    admin.post(f"{TODOS}{todo.id}/change/", {"title": "edited", "description": ""})
    assert "Changed Title: todo 0 → edited." == LogEntry.objects.get().get_change_message()
