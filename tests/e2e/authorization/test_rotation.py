"""Keys change under load: no good token is refused, and a key's grace ends when it was said to."""

import threading
import time
from collections import Counter
from datetime import timedelta

import httpx
from django.contrib.auth.models import User

from edge_api.contract.tokens import kid_of
from tests.support.stack import Stack
from tests.support.tokens import PASSWORD, bearer
from tests.support.waiting import eventually
from todos.tokens import keys

GRACE = timedelta(seconds=20)
CLIENTS = ("olga", "ivan")


class Client(threading.Thread):
    """Posts, reads and gets itself the next token, without pause."""

    def __init__(self, stack: Stack, name: str) -> None:
        super().__init__()
        self._stack, self._name = stack, name
        self.answers: Counter[int] = Counter()
        self.kids: set[str] = set()
        self.stopping = threading.Event()

    def run(self) -> None:
        with httpx.Client(timeout=30) as client:
            tokens = f"{self._stack.web_url}/api/token/"
            pair = client.post(tokens, json={"username": self._name, "password": PASSWORD}).json()
            while not self.stopping.is_set():
                headers = bearer(pair["access"])
                new = client.post(f"{self._stack.edge_url}/new/", json={"title": "x"}, headers=headers)
                read = client.get(f"{self._stack.web_url}/api/todos/?page_size=1", headers=headers)
                refreshed = client.post(f"{tokens}refresh/", json={"refresh": pair["refresh"]})
                self.answers.update([new.status_code, read.status_code, refreshed.status_code])
                pair = refreshed.json()
                self.kids.add(kid_of(pair["access"]))


def test_no_good_token_is_refused_and_an_old_key_ends_with_its_grace(stack: Stack, users: dict[str, User]) -> None:
    def statuses(token: str) -> tuple[int, int]:
        new = httpx.post(f"{stack.edge_url}/new/", json={"title": "x"}, headers=bearer(token))
        return new.status_code, httpx.get(f"{stack.web_url}/api/todos/", headers=bearer(token)).status_code

    signed_in = httpx.post(f"{stack.web_url}/api/token/", json={"username": "olga", "password": PASSWORD}).json()
    old = signed_in["access"]
    clients = [Client(stack, name) for name in CLIENTS]
    for client in clients:
        client.start()
    try:
        for _ in range(3):
            started = time.monotonic()
            with stack.django():
                newest = keys.rotate(GRACE).kid
            seen = statuses(old)
            assert seen == (202, 200) or time.monotonic() - started > GRACE.total_seconds() / 2
            eventually(lambda kid=newest: all(kid in each.kids for each in clients), seconds=20, what="the new key")  # type: ignore[misc]
        eventually(lambda: statuses(old) == (401, 401), seconds=60, what="the old key's end")
    finally:
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join()
    assert {200, 202} == set(sum((client.answers for client in clients), Counter()))
