"""An owner who guesses another's Idempotency-Key knows the todo's id, and learns nothing by it from any route."""

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from edge_api.contract import id_from_key, record_key
from todos.ledger.leases import ensure_ledger
from todos.models import DeadLetter, PartitionLedger, Todo
from todos.owners import owner_of
from todos.selectors import PageCursor

pytestmark = pytest.mark.django_db
TOPIC, KEY = settings.KAFKA.topic, "invoice-4711"
DECIDED, UNDECIDED = 3, 10

Ask = Callable[[Client, UUID], Any]
REQUESTS: dict[str, Ask] = {
    "receipt of a decided offset": lambda client, id_: client.get(f"/api/receipts/{id_}/0-{DECIDED}/"),
    "receipt of an undecided offset": lambda client, id_: client.get(f"/api/receipts/{id_}/0-{UNDECIDED}/?wait=0.05"),
    "read": lambda client, id_: client.get(f"/api/todos/{id_}/"),
    "read unless any": lambda client, id_: client.get(f"/api/todos/{id_}/", headers={"If-None-Match": "*"}),
    "options": lambda client, id_: client.options(f"/api/todos/{id_}/"),
    "put": lambda client, id_: client.put(f"/api/todos/{id_}/", {"title": 1}, "application/json"),
    "patch": lambda client, id_: client.patch(
        f"/api/todos/{id_}/", {"title": "mine"}, "application/json", headers={"If-Match": "*"}
    ),
    "delete": lambda client, id_: client.delete(f"/api/todos/{id_}/", headers={"If-Match": '"another"'}),
    "mark many": lambda client, id_: client.post(
        "/api/todos/bulk/", {"action": "done", "ids": [str(id_)]}, "application/json"
    ),
    "delete many": lambda client, id_: client.post(
        "/api/todos/bulk/", {"action": "delete", "ids": [str(id_)]}, "application/json"
    ),
    "list": lambda client, id_: client.get("/api/todos/?search=secret&is_done=false"),
    "list from there": lambda client, id_: client.get(
        "/api/todos/", {"cursor": PageCursor(timezone.now(), id_, backwards=True).encode()}
    ),
}


def _store(owner: str, id_: UUID) -> None:
    Todo.objects.create(
        id=id_, title="secret", owner=owner, created_at=timezone.now(), source_partition=0, source_offset=DECIDED
    )


def _reject(owner: str, id_: UUID, reason: str = "rejected") -> None:
    DeadLetter.objects.create(
        topic=TOPIC, partition=0, offset=DECIDED, reason=reason, detail="d", key=record_key(id_),
        value=json.dumps({"title": "secret", "owner": owner, "id": str(id_)}).encode(),
    )  # fmt: skip


def _conflict(owner: str, id_: UUID) -> None:
    _reject(owner, id_, "conflict")


@pytest.fixture
def stranger(client: Client) -> Client:
    ensure_ledger(TOPIC, [0])
    PartitionLedger.objects.update(next_offset=UNDECIDED)
    user = User.objects.create_user("ivan")
    _store(owner_of(user), UUID(int=1))
    client.force_login(user)
    return client


def asked(client: Client, ask: Ask, id_: UUID) -> tuple[int, dict[str, str], bytes, list[str]]:
    """All of the answer but its own id, and the statements that it cost, with every id made the same."""
    with CaptureQueriesContext(connection) as queries:
        response = ask(client, id_)
    headers = {name: value for name, value in response.headers.items() if name != "X-Request-ID"}
    statements = [_anonymous(query["sql"]) for query in queries]
    return response.status_code, headers, response.content.replace(str(id_).encode(), b"ID"), statements


def _anonymous(sql: str) -> str:
    sql = re.sub(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", "ID", sql)
    return re.sub(r"'\d{4}-\d\d-\d\dT[^']*'|(?<=SAVEPOINT )\S+", "X", sql)


@pytest.mark.parametrize("make", [_store, _reject, _conflict])
@pytest.mark.parametrize("ask", REQUESTS.values(), ids=REQUESTS)
def test_a_todo_of_another_owner_is_answered_like_one_that_does_not_exist(
    stranger: Client, ask: Ask, make: Callable[[str, UUID], None]
) -> None:
    owner = owner_of(User.objects.create_user("olga"))
    used, unused = id_from_key(owner, KEY), id_from_key(owner, "another")
    asked(stranger, ask, unused)  # what is asked only once by a process
    make(owner, used)

    before = list(Todo.objects.filter(id=used).values())

    assert asked(stranger, ask, unused) == asked(stranger, ask, used)
    assert before == list(Todo.objects.filter(id=used).values())
