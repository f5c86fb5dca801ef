"""Clients that send everything again with the same keys make no second todo, and learn what became of each request."""

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import MakeStack
from tests.support.stack import Services, Stack

TODOS, BATCH, ROUNDS = 10_000, 500, 3


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, shared_services: Services, template: str) -> Stack:
    stack = make_stack(shared_services, template=template)
    stack.edge()
    stack.web()
    stack.worker()
    stack.beat()
    return stack


def test_10_000_posts_three_times_with_the_same_keys_are_10_000_todos(stack: Stack) -> None:
    """Most of them in batches; the first 1,000 one by one, from several clients at the same time."""
    name = uuid.uuid4().hex
    with httpx.Client(base_url=stack.edge_url, timeout=20) as client, ThreadPoolExecutor(8) as pool:

        def post(path: str, content: object, key: str) -> dict[str, Any]:
            """Until all of it is confirmed: for that is the key."""
            while True:
                answer = client.post(path, json=content, headers={"Idempotency-Key": f"{name}-{key}"})
                if answer.status_code == 202:
                    return dict(answer.json())
                assert answer.status_code in (207, 503), answer.text

        def post_some(first: int) -> list[str]:
            """The ids."""
            todos = [todo(number) for number in range(first, first + BATCH)]
            if first < 2 * BATCH:
                return [post("/new/", each, f"{first}-{place}")["id"] for place, each in enumerate(todos)]
            return [result["id"] for result in post("/new/batch/", todos, f"{first}")["results"]]

        rounds = [[*chain.from_iterable(pool.map(post_some, range(0, TODOS, BATCH)))] for _ in range(ROUNDS)]
    stack.wait_until_drained(seconds=60)

    assert rounds[0] == rounds[1] == rounds[2]
    rows = dict(stack.rows("SELECT id::text, title FROM todos_todo"))
    assert {todo_id: todo(number)["title"] for number, todo_id in enumerate(rounds[0])} == rows
    assert TODOS == len(rows)
    sent = sum(stack.end_offsets().values())
    assert sent >= ROUNDS * TODOS
    totals = "SELECT sum(stored_total), sum(duplicates_total), sum(dead_letters_total) FROM todos_partitionledger"
    assert [(TODOS, sent - TODOS, 0)] == stack.rows(totals)


def todo(number: int) -> dict[str, str]:
    return {"title": f"todo {number}"}


def test_each_request_has_its_own_receipt(stack: Stack) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    with httpx.Client(timeout=20) as client:
        answers = [
            client.post(f"{stack.edge_url}/new/", json={"title": title}, headers=key) for title in ("a", "a", "b")
        ]
        receipts = [client.get(answer.headers["location"], params={"wait": 10}).json() for answer in answers]

    url = answers[0].json()["url"]
    assert [("stored", url), ("stored", url), ("conflict", url)] == [(one["status"], one["todo"]) for one in receipts]
    assert "a" == httpx.get(url).json()["title"]


def test_waiting_for_receipts_holds_nobody_up(stack: Stack) -> None:
    """Many more than there are threads wait for what never comes; others are answered meanwhile."""
    never = f"{stack.web_url}/api/receipts/{uuid.uuid4()}/0-999999999/"
    with ThreadPoolExecutor(64) as pool, httpx.Client(timeout=5) as client:
        waiting = [pool.submit(httpx.get, never, params={"wait": 2}, timeout=30) for _ in range(64)]
        while not all(one.done() for one in waiting):
            assert client.get(f"{stack.web_url}/api/todos/").is_success
        answers = Counter(one.result().json()["status"] for one in waiting)
    assert {"pending": 64} == answers
