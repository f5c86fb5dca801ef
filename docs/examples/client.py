"""A typed client of edge and API: sign in, add todos that are never doubled, wait for them, find and change them.

Needs httpx alone: take this file as it is, and change it to your needs.
"""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Self, TypeVar

import httpx

RETRIED = {429, 503}
ATTEMPTS = 5
T = TypeVar("T")


class Refused(Exception):
    """The problem that was answered: its status, detail and fields at fault."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        is_problem = response.headers.get("Content-Type", "").startswith("application/problem+json")
        self.problem: dict[str, Any] = response.json() if is_problem else {}
        super().__init__(f"{self.status}: {self.problem.get('detail', response.reason_phrase)}")


@dataclass(frozen=True)
class Accepted:
    id: str
    url: str
    receipt: str


@dataclass(frozen=True)
class Receipt:
    status: str
    todo: str | None
    reason: str | None
    errors: list[dict[str, str]]


@dataclass(frozen=True)
class Todo:
    id: str
    title: str
    description: str
    is_done: bool
    created_at: str
    etag: str = ""  # of a todo that was read by itself


@dataclass
class Client:
    """Of one user. Not for several threads at the same time."""

    edge: str = "http://localhost:7007"
    api: str = "http://localhost:7008"
    timeout: float = 30
    _access: str = ""
    _refresh: str = ""
    _http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self._http = httpx.Client(timeout=self.timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    # --- Who you are

    def sign_in(self, username: str, password: str) -> None:
        self._take_tokens("", {"username": username, "password": password})

    def _take_tokens(self, path: str, body: dict[str, str]) -> None:
        """Not tried again: a refresh token that is used twice ends all that came from its sign-in."""
        answer = self._http.post(f"{self.api}/api/token/{path}", json=body)
        if not answer.is_success:
            raise Refused(answer)
        self._access, self._refresh = answer.json()["access"], answer.json()["refresh"]

    # --- Todos

    def create(self, title: str, description: str = "", *, key: str | None = None) -> Accepted:
        """One todo, however often it has to be sent. Keep the `key` to send it again after a crash of your own."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        body = {"title": title, "description": description}
        return _as(Accepted, self._ask("POST", f"{self.edge}/new/", json=body, headers=headers).json())

    def wait(self, accepted: Accepted, seconds: float = 30) -> Receipt:
        """What became of it; still pending when the time is up."""
        deadline = time.monotonic() + seconds
        while True:
            left = min(10.0, max(0.0, deadline - time.monotonic()))
            answer = self._ask("GET", accepted.receipt, params={"wait": f"{left:.3f}"})
            receipt = _as(Receipt, answer.json())
            if receipt.status != "pending" or time.monotonic() >= deadline:
                return receipt
            time.sleep(_retry_after(answer))

    def list(self, **filters: str | int) -> Iterator[Todo]:
        """All that match, page by page: is_done="false", search="milk", created_after=…, ordering=…"""
        answer = self._ask("GET", f"{self.api}/api/todos/", params=filters).json()
        yield from (_as(Todo, one) for one in answer["results"])
        while answer["next"]:
            answer = self._ask("GET", answer["next"]).json()
            yield from (_as(Todo, one) for one in answer["results"])

    def read(self, url: str) -> Todo:
        return self._todo(self._ask("GET", url))

    def change(self, todo: Todo, **changes: str | bool) -> Todo:
        """Refused with the status 412 if it was changed since it was read."""
        url = f"{self.api}/api/todos/{todo.id}/"
        return self._todo(self._ask("PATCH", url, json=changes, headers={"If-Match": todo.etag}))

    def _todo(self, answer: httpx.Response) -> Todo:
        return _as(Todo, answer.json() | {"etag": answer.headers["ETag"]})

    # --- How it is sent

    def _ask(self, method: str, url: str, *, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        """Retry after as long as the service asks for. Each request through here may be sent twice."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._send(method, url, headers or {}, options)
            except httpx.TransportError:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(attempt)
                continue
            if answer.is_success:
                return answer
            if answer.status_code not in RETRIED or attempt == ATTEMPTS:
                break
            time.sleep(_retry_after(answer))
        raise Refused(answer)

    def _send(self, method: str, url: str, headers: dict[str, str], options: dict[str, Any]) -> httpx.Response:
        answer = self._http.request(method, url, headers=headers | self._bearer(), **options)
        if answer.status_code == httpx.codes.UNAUTHORIZED and self._refresh:
            self._take_tokens("refresh/", {"refresh": self._refresh})
            answer = self._http.request(method, url, headers=headers | self._bearer(), **options)
        return answer

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._access}"} if self._access else {}


def _retry_after(answer: httpx.Response) -> float:
    return float(answer.headers.get("Retry-After", 1))


def _as(kind: type[T], members: dict[str, Any]) -> T:
    """Members that are not known here are those of a later version."""
    known = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in members.items() if name in known})
