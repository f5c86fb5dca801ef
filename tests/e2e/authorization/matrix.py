"""Every route of both services, asked by everybody who might ask; and the table of what they got."""

import re
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.urls import get_resolver

from edge_api.main import create_app
from edge_api.settings import load_settings
from tests.support.stack import Stack
from tests.support.tokens import PASSWORD, Signer, bearer

CSRF = "c" * 32
BODIES: dict[str, Any] = {
    "/new/": {"title": "x"},
    "/new/batch/": [{"title": "x"}],
    "/api/todos/{id}/": {"title": "x"},
    "/api/todos/bulk/": {"action": "done", "ids": [str(uuid.UUID(int=0))]},
    "/api/token/": {"username": "olga", "password": PASSWORD},
    "/api/token/refresh/": {"refresh": "wrong"},
}
Headers = dict[str, str]


class Route(NamedTuple):
    """A route of one service. {id} is a todo of the owner, {unused id} is an id that no todo has."""

    service: str
    method: str
    path: str


# --- Who asks


def credentials(signer: Signer, retired: Signer, owner: str, other: str, erased: str) -> dict[str, Headers]:
    """Each of the bad ones would be the owner's, were it good."""
    bad = {
        "expired": signer.token(owner, exp=1),
        "wrong audience": signer.token(owner, aud="others"),
        "wrong issuer": signer.token(owner, iss="others"),
        "`alg` none": signer.unsigned(owner),
        "key confusion": signer.confused(owner)[0],
        "retired key": retired.token(owner),
        "unknown key": Signer("unknown").token(owner),
        "forged": Signer(signer.kid).token(owner),
    }
    good = {
        "owner": signer.token(owner),
        "other": signer.token(other),
        "read only": signer.token(owner, scope="read"),
        "write only": signer.token(owner, scope="write"),
        "erased": signer.token(erased),
    }
    return {"anonymous": {}} | {name: bearer(token) for name, token in (good | bad).items()}


def session_of(user: User) -> Headers:
    """Signed in as the admin's form does it."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "todoproject.sign_in.PasswordBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return {"Cookie": f"sessionid={session.session_key}; csrftoken={CSRF}", "X-CSRFToken": CSRF}


# --- What is asked for


def edge_routes() -> Iterator[Route]:
    app = create_app(load_settings({"EDGE_AUTH": "open"}))
    for route in app.routes:
        for method in sorted(getattr(route, "methods", None) or ()):
            if method != "HEAD":
                yield Route("edge", method, str(getattr(route, "path", "")))


def django_paths() -> list[str]:
    """As a client writes them; format suffixes are the same views again."""
    return sorted({f"/{_readable(path)}" for path in _walk(get_resolver()) if "format" not in path})


def _walk(resolver: Any, prefix: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        path = f"{prefix}{str(pattern.pattern).removeprefix('^').removesuffix('$')}"
        if hasattr(pattern, "url_patterns"):
            yield from _walk(pattern, path)
        else:
            yield path


def _readable(path: str) -> str:
    path = re.sub(r"\(\?P<(?:pk|id|todo_id)>[^()]*\)|<uuid:\w+>", "{id}", path)
    return re.sub(r"\(\?P<\w+>[^()]*\)|<(?:\w+:)?\w+>", "0", path).replace("\\", "").replace("/?", "/")


# --- What they get


Answer = int | str


class Asking:
    def __init__(self, stack: Stack, owner: str, client: httpx.Client) -> None:
        self._stack, self._owner, self._client = stack, owner, client

    def answer(self, route: Route, headers: Headers) -> Answer:
        """The status, and what a receipt says."""
        url = self._stack.edge_url if route.service == "edge" else self._stack.web_url
        path = route.path.replace("{id}", self._new_todo()) if "{id}" in route.path else route.path
        path = path.replace("{unused id}", str(uuid.uuid4()))
        body = None if route.method in {"GET", "DELETE"} else BODIES.get(f"{route.path.rstrip('/')}/", {})
        response = self._client.request(route.method, url + path, json=body, headers=headers)
        if response.is_success and "/receipts/" in path:
            return f"{response.status_code} {response.json()['status']}"
        return response.status_code

    def methods(self, path: str, headers: Headers) -> list[str]:
        """Those that its view has, as it says itself."""
        if not path.startswith("/api/") or path.startswith("/api/auth/"):
            return ["GET"]
        url = self._stack.web_url + path.replace("{id}", str(uuid.uuid4()))
        allowed = self._client.options(url, headers=headers).headers.get("Allow", "GET")
        return [method for method in allowed.split(", ") if method not in {"HEAD", "OPTIONS"}]

    def _new_todo(self) -> str:
        todo_id = str(uuid.uuid4())
        self._stack.rows(
            "INSERT INTO todos_todo (id, title, description, is_done, created_at, updated_at, source_partition,"
            " source_offset, owner) VALUES (%s, 't', '', false, now(), now(), 0, 0, %s)",
            todo_id,
            self._owner,
        )
        return todo_id


def table(rows: dict[Route, dict[str, Answer]]) -> str:
    """In Markdown. Routes that answer everybody alike are told in one line each."""
    columns = list(next(iter(rows.values())))
    guarded = {route: row for route, row in rows.items() if len(set(row.values())) > 1}
    public = [route for route in rows if route not in guarded]
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    lines += [f"| {_name(route)} | {' | '.join(map(str, row.values()))} |" for route, row in guarded.items()]
    listed = [f"- {_name(route)}: {next(iter(rows[route].values()))}" for route in public]
    return "\n".join([*lines, "", "The same for everybody:", "", *listed]) + "\n"


def _name(route: Route) -> str:
    return f"{route.service}: `{route.method} {route.path}`"
