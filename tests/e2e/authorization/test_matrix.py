"""Who may do what: every route of both services, asked with good and bad credentials; docs/authorization.md has it."""

import os
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from django.contrib.auth.models import User

from devstack.environment import ROOT
from tests.e2e.authorization.matrix import Asking, Route, credentials, django_paths, edge_routes, session_of, table
from tests.support.stack import Stack
from tests.support.tokens import Signer, bearer
from tests.support.waiting import eventually
from todos.owners import owner_of
from todos.tokens import keys

PAGE = ROOT / "docs" / "authorization.md"
GOOD = {"anonymous", "owner", "other", "read only", "write only", "staff"}
HEAD = """# Who may do what

What each route answers to whom. Made by `tests/e2e/authorization/test_matrix.py`, which fails when this page is out of
date; `UPDATE_DOCS=1 make test ARGS=tests/e2e/authorization` writes it again. The todo that is asked for is the owner's.
From *expired* to *forged*, tokens would be the owner's, were they good. Staff are signed in with the admin's session.

The pages of the admin send everybody but staff to its sign-in; that is tested for each of them.

"""


@pytest.fixture(scope="module")
def asked(stack: Stack, users: dict[str, User]) -> Iterator[dict[Route, dict[str, int]]]:
    with stack.django():
        first = keys.signing_key_pair()
        keys.rotate(timedelta(hours=1))
        keys.retire(first.kid)
        own, staff = keys.signing_key_pair(), session_of(users["staff"])
        owner, other = owner_of(users["olga"]), owner_of(users["ivan"])
    signer, retired = Signer(own.kid, own.private), Signer(first.kid, first.private)
    who = credentials(signer, retired, owner, other) | {"staff": staff}
    with httpx.Client(timeout=30) as client:
        asking = Asking(stack, owner, client)
        new = Route("edge", "POST", "/new/")
        eventually(lambda: asking.status(new, bearer(retired.token())) == 401, seconds=20, what="the edge to forget")
        paths = [path for path in django_paths() if not path.startswith("/admin/")]
        routes = [*edge_routes()]
        routes += [Route("web", method, path) for path in paths for method in asking.methods(path, who["owner"])]
        routes.append(Route("web", "GET", "/admin/"))
        yield {route: {name: asking.status(route, headers) for name, headers in who.items()} for route in routes}


def test_the_page_shows_what_really_is(asked: dict[Route, dict[str, int]]) -> None:
    page = HEAD + table(asked)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page)
    assert page.splitlines() == PAGE.read_text().splitlines()


def test_whatever_needs_a_token_refuses_every_bad_one(asked: dict[Route, dict[str, int]]) -> None:
    for route, row in asked.items():
        bad = {status for name, status in row.items() if name not in GOOD}
        assert 1 == len(bad), route
        if row["anonymous"] == 401:
            assert {401} == bad, route
        assert bad & {401, 302} or 1 == len(set(row.values())), route  # else it is for everybody


def test_only_the_routes_that_are_meant_to_be_are_for_everybody(asked: dict[Route, dict[str, int]]) -> None:
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
