"""Who may add todos at the edge, and what it does while keys come, change and go."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from edge_api.auth import authentication as auth
from edge_api.auth import jwks as keys
from edge_api.auth.authentication import Auth
from edge_api.contract.tokens import Key, Token, verify
from edge_api.main import create_app
from edge_api.problems import Problem
from edge_api.settings import EdgeSettings, Settings
from tests.support.metrics import samples
from tests.support.tokens import OWNER, Signer, bearer

PASSED = 503  # the edge under test has no Kafka behind it
ONE = Signer("one")


@pytest.fixture
def jwks(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_bytes(ONE.jwks())
    return path


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MIN_RELOAD_SECONDS", 0.05)


@pytest.fixture
def app(settings: Settings, jwks: Path) -> FastAPI:
    edge = EdgeSettings(auth="token", jwks=str(jwks), ack_timeout_seconds=0.2)
    return create_app(Settings(edge, settings.kafka))


def scope_with(token: str) -> dict[str, object]:
    return {"headers": [(b"authorization", f"Bearer {token}".encode())]}


async def owner_of(door: Auth, scope: Mapping[str, object]) -> str:
    return await door.owner_of(dict(scope), time.monotonic() + 10)


def run_auth(jwks: Path | str, scenario: Callable[[Auth], Awaitable[None]]) -> None:
    async def main() -> None:
        door = Auth(EdgeSettings(auth="token", jwks=str(jwks)))
        await door.start()
        try:
            await scenario(door)
        finally:
            await door.stop()

    asyncio.run(main())


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signatures were checked, in order."""
    tokens: list[str] = []

    def verify_and_note(token: str, key: Key | None) -> Token:
        tokens.append(token)
        return verify(token, key)

    monkeypatch.setattr(auth, "verify", verify_and_note)
    return tokens


def test_what_is_remembered_is_the_token_not_what_stands_around_it(jwks: Path, verified: list[str]) -> None:
    async def scenario(door: Auth) -> None:
        token = ONE.token().encode()
        for header in (b"Bearer " + token, b"bearer   " + token + b" ", b"BEARER \t" + token):
            assert OWNER == await owner_of(door, {"headers": [(b"authorization", header)]})
        assert [token.decode()] == verified
        twice = {"headers": [(b"authorization", b"Bearer " + token)] * 2}
        with pytest.raises(Problem, match="sent once"):
            await owner_of(door, twice)

    run_auth(jwks, scenario)


async def outcome(door: Auth, token: str) -> str | int:
    try:
        return await owner_of(door, scope_with(token))
    except Problem as exc:
        return exc.status.value


@pytest.mark.parametrize("path", ["/new/", "/new/batch/", "/new", "/new/batch"])
@pytest.mark.parametrize(
    ("headers", "status", "challenge"),
    [
        ({}, 401, 'Bearer realm="todo"'),
        ({"Authorization": "Basic b2xnYTp4"}, 401, 'Bearer realm="todo", error="invalid_token"'),
        (bearer(ONE.token(exp=1)), 401, 'Bearer realm="todo", error="invalid_token"'),
        (
            bearer(ONE.token(scope="read", exp=2**33)),
            403,
            'Bearer realm="todo", error="insufficient_scope", scope="write"',
        ),
    ],
)
def test_a_refusal_says_why(
    post: Callable[..., httpx.Response], path: str, headers: dict[str, str], status: int, challenge: str
) -> None:
    response = post(b'{"title": "x"}', headers | {"Content-Type": "application/json"}, path)
    assert (status, "application/problem+json") == (response.status_code, response.headers["content-type"])
    assert challenge == response.headers["www-authenticate"]
    assert response.headers["x-request-id"]


def test_a_good_token_passes(post: Callable[..., httpx.Response]) -> None:
    headers = bearer(ONE.token()) | {"Content-Type": "application/json"}
    assert PASSED == post(b'{"title": "x"}', headers).status_code


def test_an_open_edge_takes_nobodys_todos_but_no_bad_token(jwks: Path) -> None:
    async def scenario(door: Auth) -> None:
        assert "" == await owner_of(door, {"headers": []})
        assert [OWNER, 401] == [await outcome(door, token) for token in (ONE.token(), ONE.token(exp=1))]

    async def main() -> None:
        door = Auth(EdgeSettings(auth="open", jwks=str(jwks)))
        await door.start()
        await scenario(door)
        await door.stop()
        without_keys = Auth(EdgeSettings(auth="open"))
        assert ("", 401) == (await owner_of(without_keys, {"headers": []}), await outcome(without_keys, ONE.token()))

    asyncio.run(main())


def test_a_token_is_verified_once_and_remembered_no_longer_than_it_is_good(
    jwks: Path, verified: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "MAX_CACHED_TOKENS", 2)
    first, second, third = (ONE.token(str(uuid4())) for _ in range(3))

    async def scenario(door: Auth) -> None:
        for token in (first, second, first, first, third, first, second):
            await outcome(door, token)
        assert [first, second, third, second] == verified  # the third took the place of the second
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 606)
        await outcome(door, second)
        assert [first, second, third, second, second] == verified

    run_auth(jwks, scenario)


def test_a_new_key_is_known_at_once_and_a_retired_one_is_forgotten(jwks: Path) -> None:
    two = Signer("two")
    other = str(uuid4())
    old, new = ONE.token(), two.token(other)

    async def scenario(door: Auth) -> None:
        assert OWNER == await outcome(door, old)
        jwks.write_bytes(ONE.jwks(two))
        assert [OWNER, other] == [await outcome(door, token) for token in (old, new)]
        jwks.write_bytes(two.jwks())
        assert 401 == await outcome(door, Signer("three").token())  # makes it look
        assert [401, other] == [await outcome(door, token) for token in (old, new)]

    run_auth(jwks, scenario)


def test_a_key_ends_with_its_grace_also_where_nobody_can_be_asked(jwks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jwks.write_bytes(ONE.jwks(until=time.time() + 100))

    async def scenario(door: Auth) -> None:
        token = ONE.token(exp=int(time.time()) + 1000)
        assert OWNER == await outcome(door, token)
        jwks.unlink()
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 101)
        assert 401 == await outcome(door, token)

    run_auth(jwks, scenario)


def test_while_keys_cannot_be_read_known_ones_are_good_and_of_others_nobody_can_tell(jwks: Path) -> None:
    async def scenario(door: Auth) -> None:
        assert OWNER == await outcome(door, ONE.token())
        jwks.write_bytes(b"{")
        assert [OWNER, 503, None] == [
            await outcome(door, ONE.token()), await outcome(door, Signer("two").token()), door.unavailable_reason
        ]  # fmt: skip

    run_auth(jwks, scenario)


def test_keys_that_are_too_old_are_refused_also_for_a_known_token(
    settings: Settings, jwks: Path, run: Callable[..., None]
) -> None:
    edge = EdgeSettings(auth="token", jwks=str(jwks), ack_timeout_seconds=0.2)
    app = create_app(Settings(edge.model_copy(update={"jwks_max_age_seconds": 0.5}), settings.kafka))

    async def scenario(client: httpx.AsyncClient) -> None:
        async def post() -> str:
            answer = await client.post("/new/", json={"title": "x"}, headers=bearer(token))
            assert PASSED == answer.status_code
            return str(answer.json()["detail"])

        token = ONE.token()
        assert "Kafka" in await post()
        jwks.unlink()  # as when web is down: nothing tells which keys are retired
        async with asyncio.timeout(10):
            while "keys of tokens" not in await post():
                await asyncio.sleep(0.01)
        assert "the keys of tokens could not be read for 0.5 s" in await post()
        assert 0.5 < samples((await client.get("/metrics")).text)["todo_edge_keys_age_seconds{}"] < 60

    run(app, scenario)


def test_an_edge_without_keys_is_not_ready(settings: Settings, run: Callable[..., None]) -> None:
    edge = EdgeSettings(auth="token", jwks="http://127.0.0.1:9/jwks.json", ack_timeout_seconds=0.2)
    door = Auth(edge)
    assert "the keys of tokens are not known yet" == door.unavailable_reason

    async def scenario(client: httpx.AsyncClient) -> None:
        answer = await client.post("/new/", json={"title": "x"}, headers=bearer(ONE.token()))
        assert (503, "2") == (answer.status_code, answer.headers["retry-after"])
        assert 503 == (await client.get("/readyz")).status_code

    run(create_app(Settings(edge, settings.kafka)), scenario)
