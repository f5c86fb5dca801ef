"""POST /api/todos/bulk/: one action on up to 1,000 todos, with a result for each."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.support.todos import make_todos
from todos.models import Todo

pytestmark = pytest.mark.django_db
BULK = "/api/todos/bulk/"
UNKNOWN_ID = UUID(int=404)


def act(client: Client, action: str, ids: Sequence[Any]) -> Any:
    return client.post(BULK, {"action": action, "ids": [str(one) for one in ids]}, content_type="application/json")


def results(answer: Any) -> list[str]:
    assert 200 == answer.status_code
    return [one["result"] for one in answer.json()["results"]]


def test_each_id_gets_its_result_in_order(client: Client) -> None:
    first, second, third = make_todos(3)
    answer = act(client, "done", [third.id, UNKNOWN_ID, first.id])
    assert [str(third.id), str(UNKNOWN_ID), str(first.id)] == [one["id"] for one in answer.json()["results"]]
    assert ["changed", "not_found", "changed"] == results(answer)
    assert ["unchanged", "changed"] == results(act(client, "done", [first.id, second.id]))
    assert ["changed"] == results(act(client, "open", [second.id]))
    assert [False] == list(Todo.objects.filter(id=second.id).values_list("is_done", flat=True))
    assert ["deleted", "not_found"] == results(act(client, "delete", [first.id, UNKNOWN_ID]))
    assert {second.id, third.id} == set(Todo.objects.values_list("id", flat=True))


def test_a_mark_changes_the_tag_and_only_of_what_it_changes(client: Client) -> None:
    done, open_ = make_todos(2)
    Todo.objects.filter(id=done.id).update(is_done=True)
    before = {one: client.get(f"/api/todos/{one}/")["ETag"] for one in (done.id, open_.id)}
    act(client, "done", [*before])
    changed = [client.get(f"/api/todos/{one}/")["ETag"] != tag for one, tag in before.items()]
    assert [False, True] == changed


@pytest.mark.parametrize("action", ["done", "delete"])
def test_a_thousand_cost_two_statements(
    client: Client, action: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    ids = [todo.id for todo in make_todos(1000)]
    with django_assert_max_num_queries(4):  # with the savepoint of the test
        answer = act(client, action, ids)
    assert {"changed" if action == "done" else "deleted"} == set(results(answer))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ids": [str(UNKNOWN_ID)]}, "action"),
        ({"action": "burn", "ids": [str(UNKNOWN_ID)]}, "action"),
        ({"action": "done"}, "ids"),
        ({"action": "done", "ids": []}, "ids"),
        ({"action": "done", "ids": [str(UNKNOWN_ID)] * 1001}, "ids"),
        ({"action": "done", "ids": str(UNKNOWN_ID)}, "ids"),
        ({"action": "done", "ids": [str(UNKNOWN_ID), 7]}, "ids.1"),
        ({"action": "done", "ids": [None]}, "ids.0"),
        ([], "body"),
    ],
)
def test_what_makes_no_sense_is_refused_whole(client: Client, body: Any, field: str) -> None:
    answer = client.post(BULK, body, content_type="application/json")
    assert (400, [field]) == (answer.status_code, [error["field"] for error in answer.json()["errors"]])
