"""Two owners and hundreds of random requests: neither sees, changes or learns of anything of the other's."""

import random
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from tests.support.stack import Stack
from tests.support.tokens import Signer, bearer
from todos.owners import owner_of

REQUESTS = 400


class Owner:
    def __init__(self, name: str, user: User, signer: Signer) -> None:
        self.name, self.id = name, owner_of(user)
        self.headers = bearer(signer.token(self.id, exp=2**31))
        self.accepted: list[str] = []
        self.deleted: set[str] = set()


class Session:
    """Requests at random; each answer is checked against what its owner may know."""

    def __init__(self, stack: Stack, owners: list[Owner], client: httpx.Client, dice: random.Random) -> None:
        self.stack, self.owners, self.client, self.dice = stack, owners, client, dice

    def step(self) -> None:
        me, other = self.dice.sample(self.owners, 2)
        act = self.dice.choice([self.post, self.post_batch, self.list, self.read, self.patch, self.delete, self.steal])
        act(me, other)

    def _ask(self, me: Owner, method: str, url: str, **options: Any) -> httpx.Response:
        return self.client.request(method, url, headers=me.headers, **options)

    def _url(self, todo_id: str) -> str:
        return f"{self.stack.web_url}/api/todos/{todo_id}/"

    def post(self, me: Owner, _: Owner) -> None:
        answer = self._ask(me, "POST", f"{self.stack.edge_url}/new/", json={"title": f"of {me.name}"})
        assert 202 == answer.status_code
        me.accepted.append(answer.json()["id"])

    def post_batch(self, me: Owner, _: Owner) -> None:
        batch = [{"title": f"of {me.name}"}] * self.dice.randint(1, 5)
        answer = self._ask(me, "POST", f"{self.stack.edge_url}/new/batch/", json=batch)
        assert 202 == answer.status_code
        me.accepted += [result["id"] for result in answer.json()["results"]]

    def list(self, me: Owner, _: Owner) -> None:
        url: str | None = f"{self.stack.web_url}/api/todos/?page_size={self.dice.choice([3, 50, 1000])}"
        for _page in range(5):
            if url is None:
                return
            page = self._ask(me, "GET", url).json()
            assert {todo["id"] for todo in page["results"]} <= set(me.accepted) - me.deleted
            url = page["next"]

    def read(self, me: Owner, _: Owner) -> None:
        if me.accepted:
            answer = self._ask(me, "GET", self._url(self.dice.choice(me.accepted)))
            assert answer.status_code in {200, 404}  # perhaps it is not stored yet
            assert 404 == answer.status_code or answer.json()["title"].startswith(f"of {me.name}")

    def patch(self, me: Owner, _: Owner) -> None:
        if me.accepted:
            self._ask(me, "PATCH", self._url(self.dice.choice(me.accepted)), json={"title": f"of {me.name}, again"})

    def delete(self, me: Owner, _: Owner) -> None:
        if me.accepted:
            todo_id = self.dice.choice(me.accepted)
            if 204 == self._ask(me, "DELETE", self._url(todo_id)).status_code:
                me.deleted.add(todo_id)

    def steal(self, me: Owner, other: Owner) -> None:
        if other.accepted:
            method = self.dice.choice(["GET", "PUT", "PATCH", "DELETE"])
            body = {"title": f"of {me.name}", "is_done": True} if method[0] == "P" else None
            answer = self._ask(me, method, self._url(self.dice.choice(other.accepted)), json=body)
            assert 404 == answer.status_code
            assert other.name not in answer.text


@pytest.fixture
def owners(stack: Stack, users: dict[str, User], signer: Signer) -> list[Owner]:
    with stack.django():
        return [Owner(name, users[name], signer) for name in ("olga", "ivan")]


def test_hundreds_of_requests_leak_nothing(stack: Stack, owners: list[Owner]) -> None:
    with httpx.Client(timeout=30) as client:
        session = Session(stack, owners, client, random.Random(1))
        for _ in range(REQUESTS):
            session.step()
    stack.wait_until_drained(seconds=30)
    for owner in owners:
        rows = dict(stack.rows("SELECT id::text, title FROM todos_todo WHERE owner = %s", owner.id))
        assert set(owner.accepted) - owner.deleted == set(rows)
        assert {f"of {owner.name}"} == {title.removesuffix(", again") for title in rows.values()}
        assert owner.accepted
        assert owner.deleted
