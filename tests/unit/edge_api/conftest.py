"""The edge in this process, in front of a Kafka that takes connections and never answers."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI

from edge_api.main import create_app
from edge_api.settings import EdgeSettings, Settings
from edge_api.shared.kafka_settings import KafkaSettings

Scenario = Callable[[httpx.AsyncClient], Awaitable[None]]
Run = Callable[[FastAPI, Scenario], None]
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def silent_kafka() -> Iterator[str]:
    """Not simply a closed port: kafka-python leaves sockets that were refused to the garbage collector's warning."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def settings(silent_kafka: str) -> Settings:
    return Settings(EdgeSettings(auth="open", ack_timeout_seconds=0.5), KafkaSettings(bootstrap_servers=silent_kafka))


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def run() -> Run:
    """Starts the app, runs the scenario with a client of it, and stops the app."""

    def start_and_run(app: FastAPI, scenario: Scenario) -> None:
        async def main() -> None:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://edge", timeout=10) as client,
            ):
                await scenario(client)

        asyncio.run(main())

    return start_and_run


@pytest.fixture
def post(app: FastAPI, run: Run) -> Callable[..., httpx.Response]:
    """One POST to a freshly started edge. A body that passes validation gets 503: there is no Kafka."""

    def send(
        content: bytes | AsyncIterator[bytes], headers: dict[str, str] = JSON, path: str = "/new/"
    ) -> httpx.Response:
        responses = []

        async def scenario(client: httpx.AsyncClient) -> None:
            responses.append(await client.post(path, content=content, headers=headers))

        run(app, scenario)
        return responses[0]

    return send
