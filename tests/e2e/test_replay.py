"""Clients that send everything again with the same keys make no second todo, and learn what became of each request."""

import asyncio
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.support.posts import Post, post_all
from tests.support.stack import Stack
from tests.support.waiting import Stopwatch

TODOS, BATCH, ROUNDS = 10_000, 500, 3


def test_10_000_posts_three_times_with_the_same_keys_are_10_000_todos(stack: Stack) -> None:
    """One todo each; a batch under a key of its own goes with them."""
    name = uuid.uuid4().hex
    posts = [Post("/new/", todo(number), f"{name}-{number}") for number in range(TODOS)]
    batch = Post("/new/batch/", [todo(number) for number in range(TODOS, TODOS + BATCH)], name)
    rounds = [asyncio.run(post_all(stack.edge_port, [batch, *posts])) for _ in range(ROUNDS)]
    stack.wait_until_drained(seconds=60)

    ids = [[answer["id"] for answer in [*singles, *first["results"]]] for first, *singles in rounds]
    assert ids[0] == ids[1] == ids[2]
    rows = dict(stack.rows("SELECT id::text, title FROM todos_todo"))
    assert {todo_id: todo(number)["title"] for number, todo_id in enumerate(ids[0])} == rows
    assert TODOS + BATCH == len(rows)
    sent = sum(stack.end_offsets().values())
    assert sent >= ROUNDS * len(rows)
    totals = "SELECT sum(stored_total), sum(duplicates_total), sum(dead_letters_total) FROM todos_partitionledger"
    assert [(len(rows), sent - len(rows), 0)] == stack.rows(totals)


def todo(number: int) -> dict[str, str]:
    return {"title": f"todo {number}"}


def test_each_request_has_its_own_receipt(stack: Stack) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    with httpx.Client(timeout=20) as client:
        receipts = []
        for title in ("a", "a", "b"):  # each after the one before is stored, for partitions may be read in any order
            answer = client.post(f"{stack.edge_url}/new/", json={"title": title}, headers=key).raise_for_status().json()
            receipts.append(client.get(answer["receipt"], params={"wait": 10}).json())

    url = answer["url"]
    assert [("stored", url), ("stored", url), ("conflict", url)] == [(one["status"], one["todo"]) for one in receipts]
    assert "a" == httpx.get(url).json()["title"]


def test_waiting_for_receipts_holds_nobody_up(stack: Stack) -> None:
    """Many more than there are threads wait for what never comes; others are answered meanwhile."""
    never = f"{stack.web_url}/api/receipts/{uuid.uuid4()}/0-999999999/"
    with ThreadPoolExecutor(64) as pool, httpx.Client(timeout=60) as client:
        waiting = [pool.submit(httpx.get, never, params={"wait": 2}, timeout=150) for _ in range(64)]
        while not all(one.done() for one in waiting):
            watch = Stopwatch()
            assert client.get(f"{stack.web_url}/api/todos/").is_success
            assert watch.seconds < 5
        answers = Counter(one.result().json()["status"] for one in waiting)
    assert {"pending": 64} == answers
