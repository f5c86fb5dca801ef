"""No Kafka: the edge is alive, not ready, bounded in memory, and answers 503 in bounded time."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from fastapi import FastAPI

from edge_api.http import batches as new_batch
from edge_api.main import create_app
from edge_api.settings import Settings
from tests.support.waiting import Stopwatch

PROMISE_SECONDS = 5.0
TOO_MANY = "too many todos"


def assert_retry_later(response: httpx.Response, *, says: str) -> None:
    assert response.status_code == 503, response.text
    assert int(response.headers["retry-after"]) >= 1
    assert says in response.json()["detail"]


def test_the_edge_starts_and_says_why_it_is_not_ready(app: FastAPI, run: Callable[..., None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert_retry_later(await client.get("/readyz"), says="Kafka is not reachable")

    run(app, scenario)


def test_a_todo_is_refused_in_bounded_time_and_surely_not_stored(app: FastAPI, run: Callable[..., None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        watch = Stopwatch()
        first = await client.post("/new/", json={"title": "Do homework"})
        second = await client.post("/new/", json={"title": "Do homework"})
        assert watch.seconds < PROMISE_SECONDS
        assert_retry_later(first, says="Not stored: Kafka is not reachable")
        assert_retry_later(second, says="Not stored: Kafka is not reachable")

    run(app, scenario)


@pytest.mark.parametrize(
    ("bounds", "title_and_description", "fit"),
    [
        ({"max_in_flight_records": 3}, {"title": "x"}, 3),
        # 131,072 bytes hold four records of 30,000 bytes and a little more.
        ({"max_in_flight_bytes": 131_072}, {"title": "x", "description": "\u3042" * 10_000}, 4),
    ],
    ids=["records", "bytes"],
)
def test_the_buffer_is_bounded_and_freed(
    settings: Settings,
    run: Callable[..., None],
    bounds: dict[str, int],
    title_and_description: dict[str, str],
    fit: int,
) -> None:
    edge = settings.edge.model_copy(update={"ack_timeout_seconds": 1.0, **bounds})  # smaller than the environment may

    async def scenario(client: httpx.AsyncClient) -> None:
        async def post() -> httpx.Response:
            return await client.post("/new/", json=title_and_description)

        responses = await asyncio.gather(*(post() for _ in range(fit + 2)))
        details = [response.json()["detail"] for response in responses]
        assert {503} == {response.status_code for response in responses}
        assert [False] * fit + [True] * 2 == [TOO_MANY in detail for detail in details]
        assert_retry_later(responses[-1], says=TOO_MANY)
        assert_retry_later(await post(), says="Kafka is not reachable")  # there is room again

    run(create_app(Settings(edge, settings.kafka)), scenario)


def test_a_batch_has_room_for_all_of_its_todos_or_takes_none(settings: Settings, run: Callable[..., None]) -> None:
    edge = settings.edge.model_copy(update={"max_in_flight_records": 3})

    async def scenario(client: httpx.AsyncClient) -> None:
        async def post(count: int) -> httpx.Response:
            return await client.post("/new/batch/", json=[{"title": "x"}] * count)

        two, another_two, one = await asyncio.gather(post(2), post(2), post(1))
        assert_retry_later(two, says="Kafka is not reachable")
        assert_retry_later(another_two, says=TOO_MANY)
        assert_retry_later(one, says="Kafka is not reachable")
        assert_retry_later(await post(3), says="Kafka is not reachable")  # there is room again

    run(create_app(Settings(edge, settings.kafka)), scenario)


def test_batches_being_read_are_bounded(
    settings: Settings, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the bytes of all, to the last byte; a batch gives back what it took."""
    content = b'[{"title":"x"}]'
    monkeypatch.setattr(new_batch, "MAX_WAITING_BYTES", 2 * len(content))

    async def scenario(client: httpx.AsyncClient) -> None:
        def post(content: bytes = content) -> Awaitable[httpx.Response]:
            return client.post("/new/batch/", content=content, headers={"Content-Type": "application/json"})

        for _ in range(2):
            first, second, third = await asyncio.gather(post(), post(), post())
            assert_retry_later(first, says="Kafka is not reachable")
            assert_retry_later(second, says="Kafka is not reachable")
            assert_retry_later(third, says="Not stored: too many batches")
        first, second = await asyncio.gather(post(), post(content + b" "))
        assert_retry_later(first, says="Kafka is not reachable")
        assert_retry_later(second, says="Not stored: too many batches")

    run(create_app(settings), scenario)


def test_the_loop_answers_while_todos_wait(settings: Settings, run: Callable[..., None]) -> None:
    patient = settings.edge.model_copy(update={"ack_timeout_seconds": 2.0})

    async def scenario(client: httpx.AsyncClient) -> None:
        waiting = [asyncio.create_task(client.post("/new/", json={"title": "x"})) for _ in range(100)]
        await asyncio.sleep(0)
        assert (await client.get("/healthz")).status_code == 200
        assert not any(task.done() for task in waiting)
        for response in await asyncio.gather(*waiting):
            assert_retry_later(response, says="Kafka is not reachable")

    run(create_app(Settings(patient, settings.kafka)), scenario)
