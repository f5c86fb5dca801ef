"""Slow, large and greedy requests delay no other client, and release memory and slots as soon as they can."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from edge_api.auth.jwks import KeySet
from edge_api.contract import MAX_BATCH_BYTES, validate
from edge_api.http import admission, batches, body
from edge_api.http.body import BodyReader
from edge_api.http.schemas import NewTodo
from edge_api.main import create_app
from edge_api.problems import Problem
from edge_api.publishing.batcher import Publisher
from edge_api.publishing.producer import Position
from edge_api.settings import LONGEST_WAIT_SECONDS, EdgeSettings, Settings
from tests.support.metrics import samples
from tests.support.tokens import Signer, bearer

Run = Callable[..., None]
HEADERS = {"Content-Type": "application/json"}
SECONDS = 30.0


class Upload:
    """A body that arrives when the test says so."""

    def __init__(self, *pieces: bytes) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for piece in pieces:
            self.send(piece)

    def send(self, piece: bytes) -> None:
        """An empty piece is the end."""
        self._messages.put_nowait({"type": "http.request", "body": piece, "more_body": bool(piece)})

    def disconnect(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        return await self._messages.get()

    def read_by(self, reader: BodyReader) -> asyncio.Task[tuple[str, bytes]]:
        scope = {"headers": [(b"content-type", b"application/json")]}
        return asyncio.create_task(reader.read(scope, self.receive, MAX_BATCH_BYTES, ("application/json",)))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


# --- Memory of bodies


def test_bodies_that_arrive_slowly_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_READING_BYTES", 100)

    async def scenario() -> None:
        reader = BodyReader()
        first, second, third = Upload(b"1" * 60), Upload(b"2" * 40), Upload(b"3" * 30)
        reads = [upload.read_by(reader) for upload in (first, second)]
        await settle()
        assert not any(read.done() for read in reads)  # all of the memory is in use, and no more
        reads.append(third.read_by(reader))
        await settle()
        with pytest.raises(Problem, match="arrived slowly") as caught:
            await reads[0]
        assert 503 == caught.value.status
        second.send(b"2" * 20)
        for upload in (second, third):
            upload.send(b"")
        assert [b"2" * 60, b"3" * 30] == [read[1] for read in await asyncio.gather(*reads[1:])]

    asyncio.run(scenario())


@pytest.mark.parametrize("end", ["complete", "too large", "gone", "cancelled"])
def test_a_body_gives_its_memory_back_however_it_ends(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(body, "MAX_READING_BYTES", 100)

    async def scenario() -> None:
        reader, upload = BodyReader(), Upload(b"x" * 100)
        read = upload.read_by(reader)
        await settle()
        if end == "complete":
            upload.send(b"")
        elif end == "too large":
            upload.send(b"x" * MAX_BATCH_BYTES)
        elif end == "gone":
            upload.disconnect()
        elif end == "cancelled":
            read.cancel()
        await asyncio.wait([read])
        held = Upload(b"y" * 100)
        another = held.read_by(reader)
        await settle()
        assert not another.done()  # nothing of the first one is left, or it would be given up
        held.send(b"")
        assert b"y" * 100 == (await another)[1]

    asyncio.run(scenario())


# --- Batches


def test_batches_that_arrive_slowly_take_no_slot(settings: Settings, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_WAITING_BYTES", 30)  # enough for one batch

    async def scenario(client: httpx.AsyncClient) -> None:
        may_end = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b'[{"title":'
            await may_end.wait()
            yield b'"x"}]'

        slow_ones = [asyncio.create_task(client.post("/new/batch/", content=slow(), headers=HEADERS)) for _ in range(5)]
        await settle()
        honest = await client.post("/new/batch/", json=[{"title": "x"}])
        assert "Kafka is not reachable" in honest.json()["detail"]
        may_end.set()
        await asyncio.gather(*slow_ones)

    run(create_app(settings), scenario)


def test_many_batches_at_once_keep_no_other_request_waiting(
    app: FastAPI, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop turns after a few todos, not after a few todos of each batch."""
    validated = [0]

    def count_and_validate(model: type[NewTodo], item: object) -> NewTodo:
        validated[-1] += 1
        return validate(model, item)

    monkeypatch.setattr(batches, "validate", count_and_validate)

    async def scenario(client: httpx.AsyncClient) -> None:
        posts = [asyncio.create_task(client.post("/new/batch/", json=[{"title": ""}] * 500)) for _ in range(16)]
        while not all(post.done() for post in posts):
            validated.append(0)
            await asyncio.sleep(0)
        assert {422} == {(await post).status_code for post in posts}

    run(app, scenario)
    assert 16 * 500 == sum(validated)
    assert batches.TURN / 2 == max(validated)  # each has an error


# --- The deadline of a request


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that requests have left when their todos go to Kafka."""
    seconds: list[float] = []

    async def publish(_self: Publisher, _key: bytes, _value: bytes, _headers: object, deadline: float) -> Position:
        seconds.append(deadline - time.monotonic())
        return Position(0, len(seconds))

    monkeypatch.setattr(Publisher, "publish", publish)
    return seconds


def token_app(settings: Settings, tmp_path: Path) -> tuple[FastAPI, Signer]:
    signer, path = Signer(), tmp_path / "jwks.json"
    path.write_bytes(signer.jwks())
    return create_app(Settings(EdgeSettings(jwks=str(path)), settings.kafka)), signer


def test_what_the_key_took_is_not_left_for_kafka(
    settings: Settings, run: Run, monkeypatch: pytest.MonkeyPatch, deadlines: list[float], tmp_path: Path
) -> None:
    find, waits = KeySet.find, iter((0.0, 0.5))

    async def slow_find(self: KeySet, kid: str, deadline: float) -> object:
        await asyncio.sleep(next(waits))
        return await find(self, kid, deadline)

    monkeypatch.setattr(KeySet, "find", slow_find)
    slow_app, signer = token_app(settings, tmp_path)

    async def scenario(client: httpx.AsyncClient) -> None:
        for _ in range(2):
            answer = await client.post("/new/", json={"title": "x"}, headers=bearer(signer.token(jti=str(time.time()))))
            assert 202 == answer.status_code, answer.text

    run(slow_app, scenario)
    assert deadlines[1] <= LONGEST_WAIT_SECONDS - 0.5


def test_a_key_that_is_not_found_in_time_is_answered_in_time(
    settings: Settings, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(admission, "LONGEST_WAIT_SECONDS", 0.2)
    never = asyncio.Event()
    monkeypatch.setattr(KeySet, "_load", lambda _: never.wait())
    slow_app, signer = token_app(settings, tmp_path)

    async def scenario(client: httpx.AsyncClient) -> None:
        answer = await client.post("/new/", json={"title": "x"}, headers=bearer(signer.token()))
        assert (503, "2") == (answer.status_code, answer.headers["retry-after"])
        assert "not found in time" in answer.json()["detail"]

    run(slow_app, scenario)


def test_the_time_that_a_body_takes_is_the_client_s(
    app: FastAPI, run: Run, monkeypatch: pytest.MonkeyPatch, deadlines: list[float]
) -> None:
    monkeypatch.setattr(admission, "LONGEST_WAIT_SECONDS", 0.3)

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"title":'
        await asyncio.sleep(0.4)
        yield b'"x"}'

    async def scenario(client: httpx.AsyncClient) -> None:
        assert 202 == (await client.post("/new/", content=slow(), headers=HEADERS)).status_code

    run(app, scenario)
    assert deadlines[0] > -0.1


# --- What is counted, and what is held


async def post_raw(app: FastAPI, path: str, content: object, send: Callable[[Any], Awaitable[None]]) -> None:
    upload = Upload(json.dumps(content).encode(), b"")
    await app(scope_of(path), upload.receive, send)


def scope_of(path: str) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json")]
    return {"type": "http", "method": "POST", "path": path, "client": None, "headers": headers}


@pytest.mark.parametrize(("path", "content"), [("/new/", {"title": "x"}), ("/new/batch/", [{"title": "x"}] * 3)])
def test_a_reader_that_does_not_read_its_answer_holds_no_room(
    settings: Settings, run: Run, monkeypatch: pytest.MonkeyPatch, path: str, content: object
) -> None:
    monkeypatch.setattr(batches, "MAX_WAITING_BYTES", 30)  # enough for one batch
    app = create_app(settings)

    async def scenario(client: httpx.AsyncClient) -> None:
        is_answering, may_go_on = asyncio.Event(), asyncio.Event()

        async def stuck(_message: object) -> None:
            is_answering.set()
            await may_go_on.wait()

        request = asyncio.create_task(post_raw(app, path, content, stuck))
        await asyncio.wait_for(is_answering.wait(), SECONDS)
        found = samples((await client.get("/metrics")).text)
        assert (0, 0) == tuple(found[f"todo_edge_in_flight_{unit}{{}}"] for unit in ("todos", "bytes"))
        other = await client.post("/new/batch/", json=[{"title": "x"}])
        assert "Kafka is not reachable" in other.json()["detail"]
        may_go_on.set()
        await request

    run(app, scenario)


def test_every_request_and_every_todo_has_one_outcome(settings: Settings, run: Run) -> None:
    edge = EdgeSettings(auth="open", ack_timeout_seconds=0.5, rate_limit_per_address=100, rate_limit_burst_seconds=1)
    limited = create_app(Settings(edge, settings.kafka))
    requests: list[tuple[str, bytes, dict[str, str], int, int]] = [  # the last are the status and the number of todos
        ("/new/", b'{"title":"x"}', HEADERS, 503, 1),
        ("/new/", b'{"title":""}', HEADERS, 422, 1),
        ("/new/", b"{", HEADERS, 400, 1),
        ("/new/", b"{}", {"Content-Type": "text/plain"}, 415, 1),
        ("/new/", b"x" * 70_000, HEADERS, 413, 1),
        ("/new/", b"{}", HEADERS | {"Authorization": "Basic x"}, 401, 1),
        ("/new/", b"{}", HEADERS | {"Idempotency-Key": ""}, 400, 1),
        ("/new/batch/", b'[{"title":"x"},{"title":""}]', HEADERS, 503, 2),
        ("/new/batch/", b'[{"title":""},{"title":""},0]', HEADERS, 422, 3),
        ("/new/batch/", b"[]", HEADERS, 422, 1),
        ("/new/batch/", b"[" * 20_000, HEADERS, 413, 1),
        ("/new/batch/", json.dumps([{"title": ""}] * 500).encode(), HEADERS, 422, 500),
        ("/new/batch/", b'[{"title":"x"}]', HEADERS, 429, 1),  # the rest of the batch before is still owed
        ("/new/", b"{}", HEADERS, 429, 1),
    ]

    async def scenario(client: httpx.AsyncClient) -> None:
        for path, content, headers, status, _ in requests:
            answer = await client.post(path, content=content, headers=headers)
            assert status == answer.status_code, answer.text
        found.update(samples((await client.get("/metrics")).text))

    found: dict[str, float] = {}
    run(limited, scenario)
    outcomes = {
        name: found[f"todo_edge_todos_total{{outcome={name}}}"]
        for name in ("accepted", "rejected", "refused", "unconfirmed")
    }
    assert {"accepted": 0, "rejected": 5 + 1 + 3 + 1 + 1 + 500, "refused": 1 + 2, "unconfirmed": 2} == outcomes
    assert sum(todos for *_, todos in requests) == sum(outcomes.values())
    counted = sum(count for name, count in found.items() if name.startswith("todo_edge_requests_total"))
    assert len(requests) == counted


def test_a_cancelled_request_has_an_outcome_too(app: FastAPI, run: Run) -> None:
    async def ignore(_message: object) -> None: ...

    async def scenario(client: httpx.AsyncClient) -> None:
        reading = asyncio.create_task(app(scope_of("/new/"), Upload(b"{").receive, ignore))
        publishing = asyncio.create_task(post_raw(app, "/new/", {"title": "x"}, ignore))
        await settle()
        for task in (reading, publishing):
            task.cancel()
        await asyncio.wait([reading, publishing])
        found = samples((await client.get("/metrics")).text)
        assert 2 == found["todo_edge_requests_total{route=/new/,status=499}"]
        assert (1, 1, 0) == (
            found["todo_edge_todos_total{outcome=refused}"],
            found["todo_edge_todos_total{outcome=unconfirmed}"],
            found["todo_edge_in_flight_todos{}"],
        )

    run(app, scenario)
