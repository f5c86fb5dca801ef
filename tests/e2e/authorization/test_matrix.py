"""Who may do what: every route of both services, asked with good and bad credentials; docs/authorization.md has it."""

import os
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from django.contrib.auth.models import User

from devstack.environment import ROOT
from tests.e2e.authorization.matrix import (
    Answer,
    Asking,
    Route,
    credentials,
    django_paths,
    edge_routes,
    session_of,
    table,
)
from tests.support.stack import Stack
from tests.support.tokens import Signer, bearer
from tests.support.waiting import eventually
from todos.operations.erasure import Subject, erase
from todos.owners import owner_of
from todos.tokens import keys

PAGE = ROOT / "docs" / "authorization.md"
GOOD = {"anonymous", "owner", "other", "read only", "write only", "erased", "staff"}
HEAD = """# Who may do what

What each route answers to whom, and what a receipt says. Made by `tests/e2e/authorization/test_matrix.py`, which fails
when this page is out of date; `UPDATE_DOCS=1 make test ARGS=tests/e2e/authorization` writes it again. The todo that is
asked for is the owner's; no owner has the unused id.
From *expired* to *forged*, tokens would be the owner's, were they good. *erased* is the token of an erased owner: the
edge accepts it until it expires, and nothing sent with it is stored. Staff are signed in with the admin's session.

The pages of the admin send everybody but staff to its sign-in; that is tested for each of them.

"""


@pytest.fixture(scope="module")
def asked(stack: Stack, users: dict[str, User]) -> Iterator[dict[Route, dict[str, Answer]]]:
    with stack.django():
        first = keys.signing_key_pair()
        keys.rotate(timedelta(hours=1))
        keys.retire(first.kid)
        own, staff = keys.signing_key_pair(), session_of(users["staff"])
        owner, other = owner_of(users["olga"]), owner_of(users["ivan"])
        erased = owner_of(gone := User.objects.create_user("gone"))
        erase(Subject.of_user(gone))
    signer, retired = Signer(own.kid, own.private), Signer(first.kid, first.private)
    who = credentials(signer, retired, owner, other, erased) | {"staff": staff}
    with httpx.Client(timeout=30) as client:
        asking = Asking(stack, owner, client)
        new = Route("edge", "POST", "/new/")
        eventually(lambda: asking.answer(new, bearer(retired.token())) == 401, seconds=20, what="the edge to forget")
        unused = Route("web", "GET", "/api/receipts/{unused id}/0-0/")

        def is_decided() -> bool:
            asking.answer(new, who["owner"])
            return asking.answer(unused, who["other"]) == "200 deleted"

        eventually(is_decided, seconds=60, what="the first offset to be decided")
        paths = sorted([unused.path, *(path for path in django_paths() if not path.startswith("/admin/"))])
        routes = [*edge_routes()]
        routes += [Route("web", method, path) for path in paths for method in asking.methods(path, who["owner"])]
        routes.append(Route("web", "GET", "/admin/"))
        yield {route: {name: asking.answer(route, headers) for name, headers in who.items()} for route in routes}


def test_the_page_shows_what_really_is(asked: dict[Route, dict[str, Answer]]) -> None:
    page = HEAD + table(asked)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page)
    assert page.splitlines() == PAGE.read_text().splitlines()


def test_whatever_needs_a_token_refuses_every_bad_one(asked: dict[Route, dict[str, Answer]]) -> None:
    for route, row in asked.items():
        bad = {status for name, status in row.items() if name not in GOOD}
        assert 1 == len(bad), route
        if row["anonymous"] == 401:
            assert {401} == bad, route
        assert bad & {401, 302} or 1 == len(set(row.values())), route  # else it is for everybody


def test_the_api_tells_the_token_of_an_erased_owner_nothing(asked: dict[Route, dict[str, Answer]]) -> None:
    guarded = {route: row for route, row in asked.items() if route.service == "web" and row["anonymous"] == 401}
    assert {401} == {row["erased"] for row in guarded.values()}
    assert any("receipts" in route.path for route in guarded)


def test_nothing_that_is_sent_with_the_token_of_an_erased_owner_is_stored(
    stack: Stack, users: dict[str, User], signer: Signer
) -> None:
    with stack.django():
        erased = owner_of(gone := User.objects.create_user("sends later"))
        erase(Subject.of_user(gone))
    with httpx.Client(timeout=30, headers=bearer(signer.token(erased))) as client:
        answer = client.post(f"{stack.edge_url}/new/", json={"title": "too late"})
        assert 202 == answer.status_code
        stack.wait_until_drained(seconds=30)
        assert 401 == client.get(answer.headers["location"]).status_code
        receipt = client.get(answer.headers["location"], headers=bearer(signer.token(owner_of(users["ivan"]))))
    assert "stored" not in receipt.text
    assert [(0,)] == stack.rows("SELECT count(*) FROM todos_todo WHERE owner = %s", erased)


def test_a_receipt_tells_others_nothing_but_its_position(asked: dict[Route, dict[str, Answer]]) -> None:
    used, unused = (asked[Route("web", "GET", f"/api/receipts/{id_}/0-0/")] for id_ in ("{id}", "{unused id}"))
    assert ("200 stored", "200 stored") == (used["owner"], used["read only"])
    assert [(name, used[name]) for name in unused if name not in {"owner", "read only"}] == [
        (name, unused[name]) for name in unused if name not in {"owner", "read only"}
    ]


def test_only_the_routes_that_are_meant_to_be_are_for_everybody(asked: dict[Route, dict[str, Answer]]) -> None:
    public = {f"{route.service} {route.path}" for route, row in asked.items() if row["anonymous"] not in {401, 302}}
    assert {
        *(f"edge {path}" for path in ("/docs", "/healthz", "/metrics", "/openapi.json", "/readyz")),
        *(
            f"web {path}"
            for path in ("/.well-known/jwks.json", "/api/auth/login/", "/api/auth/logout/", "/favicon.ico")
        ),
        *(f"web {path}" for path in ("/api/docs/", "/api/openapi.json")),
        *(f"web {path}" for path in ("/healthz", "/metrics", "/readyz", "/readyz/pipeline")),
    } == public - {"web /api/token/", "web /api/token/refresh/"}


def test_every_page_of_the_admin_is_for_staff_alone(stack: Stack, users: dict[str, User], signer: Signer) -> None:
    with stack.django():
        session, token = session_of(users["olga"]), signer.token(owner_of(users["staff"]))
    pages = [path for path in django_paths() if path.startswith("/admin/")]
    assert 90 < len(pages)
    with httpx.Client(base_url=stack.web_url, timeout=30) as client:
        for headers in ({}, bearer(token), session):
            inside = {page for page in pages if client.get(page, headers=headers).is_success}
            assert {"/admin/login/", "/admin/jsi18n/"} >= inside
