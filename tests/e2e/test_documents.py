"""Both OpenAPI documents as one: invented walks along their links, through real processes, every answer judged.

Create, receipt, read, replace, change, delete, with ETags that are fresh or stale; replays; bulk.
"""

import itertools
import json
from collections import Counter
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import settings as limits
from schemathesis import Case, GenerationMode
from schemathesis.checks import use_after_free
from schemathesis.core.transport import Response

from tests.support.documents import unfit_checks
from tests.support.stack import MakeStack, Services, Stack
from tests.support.tokens import bearer

WALKS = limits(
    limits.default,
    max_examples=30,
    stateful_step_count=20,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TODO, RECEIPT = "/api/todos/{id}/", "/api/receipts/{todo_id}/{partition}-{offset}/"
BULK = "/api/todos/bulk/"
ALL = {
    *(("POST /new/", 202), ("POST /new/batch/", 202), (f"GET {RECEIPT}", 200), ("GET /api/todos/", 200)),
    *((f"GET {TODO}", 200), (f"GET {TODO}", 404), (f"PUT {TODO}", 200), (f"PATCH {TODO}", 200)),
    *((f"DELETE {TODO}", 204), (f"POST {BULK}", 200)),
}


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, shared_services: Services, template: str) -> Stack:
    return make_stack(shared_services, template=template, auth="token").start()


def joined(stack: Stack) -> dict[str, Any]:
    """Where the edge's links lead to Django's document they stay in this one."""
    edge, api = httpx.get(f"{stack.edge_url}/openapi.json"), httpx.get(f"{stack.web_url}/api/openapi.json")
    both: dict[str, Any] = api.json()
    text = edge.text.replace("#/components/schemas/", "#/components/schemas/Edge").replace(f"{api.url}#", "#")
    added = json.loads(text.replace("%7B", "{").replace("%7D", "}"))
    both["paths"] |= added["paths"]
    both["components"]["schemas"] |= {f"Edge{name}": one for name, one in added["components"]["schemas"].items()}
    return both


class Known:
    """What the answers have told so far, and what the next ones must therefore be."""

    TELLING = frozenset({200, 202, 204, 207, 304, 412})

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.receipts: Counter[str] = Counter()
        self.matches = {True: 0, False: 0}  # If-Match with the newest ETag, with an older one
        self.begin()
        self.lessons = {
            "/new/": self._one,
            "/new/batch/": self._many,
            RECEIPT: self._receipt,
            TODO: self._todo,
            BULK: self._bulk,
        }

    def begin(self) -> None:
        """Another walk, of another user."""
        self.sent: Counter[str] = Counter()  # acknowledged records, by the todo's id
        self.places: set[tuple[str, ...]] = set()  # of those records
        self.id_of_key: dict[str, str] = {}
        self.etags: dict[str, str] = {}
        self.older: dict[str, str] = {}
        self.stale: set[str] = set()
        self.turns = itertools.count()

    def prepare(self, case: Case[Any]) -> None:
        """Do not wait for receipts that never come; let most edits send an ETag."""
        if case.path == RECEIPT and place_of(case) not in self.places and _is_wait(case.query.get("wait")):
            case.query["wait"] = "0"
        if case.path == TODO and case.method != "GET":
            todo, turn = str(case.path_parameters["id"]), next(self.turns) % 3
            if etag := [self.etags.get(todo), self.older.get(todo), None][turn]:
                case.headers["If-Match"] = etag

    def learn(self, case: Case[Any], answer: Response) -> None:
        self.answers[case.operation.label, answer.status_code] += 1
        if answer.status_code in self.TELLING and case.path in self.lessons:
            self.lessons[case.path](case, answer)

    def _one(self, case: Case[Any], answer: Response) -> None:
        todo = answer.json()
        self._acknowledged(todo)
        if key := case.headers.get("Idempotency-Key"):
            assert todo["id"] == self.id_of_key.setdefault(key, todo["id"])

    def _many(self, _case: Case[Any], answer: Response) -> None:
        for result in answer.json()["results"]:
            if result["status"] == 202:
                self._acknowledged(result)

    def _acknowledged(self, todo: dict[str, Any]) -> None:
        self.places.add((todo["id"], str(todo["partition"]), str(todo["offset"])))
        self.sent[todo["id"]] += 1

    def _receipt(self, case: Case[Any], answer: Response) -> None:
        if place_of(case) in self.places:
            assert answer.json()["status"] in {"stored", "deleted", "conflict"}
            self.receipts[answer.json()["status"]] += 1

    def _todo(self, case: Case[Any], answer: Response) -> None:
        todo, asked, status = str(case.path_parameters["id"]), case.headers.get("If-Match"), answer.status_code
        newest, etag = self.etags.get(todo), answer.headers.get("etag", [""])[0]
        if newest and case.method == "GET":
            assert newest == etag
        elif newest and asked in {newest, *self.stale}:
            assert (asked != newest) is (status == 412)
            self.matches[asked == newest] += 1
        if status != 412 and newest != etag:
            self._has_changed(todo)
        if etag:
            self.etags[todo] = etag

    def _bulk(self, _case: Case[Any], answer: Response) -> None:
        for result in answer.json()["results"]:
            if result["result"] in {"changed", "deleted"}:
                self._has_changed(result["id"])

    def _has_changed(self, todo: str) -> None:
        if etag := self.etags.pop(todo, None):
            self.older[todo] = etag
            self.stale.add(etag)


def place_of(case: Case[Any]) -> tuple[str, ...]:
    return tuple(str(case.path_parameters.get(name)) for name in ("todo_id", "partition", "offset"))


def test_walks_along_the_links_of_both_documents(stack: Stack) -> None:
    document = schemathesis.openapi.from_dict(joined(stack)).exclude(path_regex="^/api/token/")
    # What violates a schema is invented for each request by itself; here a link would put it right again.
    document.config.generation.update(modes=[GenerationMode.POSITIVE])
    known, session, numbers = Known(), requests.Session(), itertools.count()

    class Walk(document.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            """A new user for each walk, so that equal steps of two walks get equal answers."""
            self.headers = bearer(stack.token(stack.user(f"walker {next(numbers)}")))
            known.begin()
            httpx.post(f"{stack.edge_url}/new/batch/", json=[{"title": "first"}] * 3, headers=self.headers)
            stack.wait_until_drained(seconds=20)

        def before_call(self, case: Case[Any]) -> None:
            known.prepare(case)

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
            url = stack.edge_url if case.path.startswith("/new/") else stack.web_url
            return {"base_url": url, "headers": self.headers, "session": session}

        def after_call(self, response: Response, case: Case[Any]) -> None:
            super().after_call(response, case)
            known.learn(case, response)
            if case.path.startswith("/new/"):
                stack.wait_until_drained(seconds=20)

        def validate_response(self, response: Response, case: Case[Any], **options: Any) -> None:
            is_back = known.sent[str(case.path_parameters.get("id"))] > 1  # a replay creates again what was deleted
            case.validate_response(
                response,
                excluded_checks=[*unfit_checks(case, response.status_code), *([use_after_free] if is_back else [])],
                headers=self.headers,
                transport_kwargs=self.get_call_kwargs(case),
                recorder=self.recorder,
            )

    Walk.run(settings=WALKS)
    assert ALL <= known.answers.keys(), known.answers
    assert known.receipts["stored"]
    assert all(known.matches.values()), known.matches


def _is_wait(value: object) -> bool:
    return value == "10" or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 10)
