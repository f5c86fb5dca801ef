"""Pages of other origins: none by default, else those named, on the busy routes as on all others."""

from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI

from edge_api.main import create_app
from edge_api.settings import EdgeSettings, Settings, load_settings
from edge_api.shared.env import ConfigError
from edge_api.shared.kafka_settings import KafkaSettings

OURS, OTHER = "https://todo.example", "https://evil.example"
ALLOW = "access-control-allow-origin"


async def allowed(client: httpx.AsyncClient, origin: str) -> list[str | None]:
    """What a preflight, an error of the busy route, a missing path and another route say of the origin."""
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answers = [
        await client.options("/new/", headers=asks),
        await client.post("/new/", content=b"{", headers={"Origin": origin, "Content-Type": "application/json"}),
        await client.get("/nothing", headers={"Origin": origin}),
        await client.get("/healthz", headers={"Origin": origin}),
    ]
    return [answer.headers.get(ALLOW) for answer in answers]


def test_only_the_origins_that_are_named(silent_kafka: str, run: Callable[..., None]) -> None:
    edge = EdgeSettings(auth="open", cors_origins=f"{OURS},http://localhost:3000")

    async def scenario(client: httpx.AsyncClient) -> None:
        assert [OURS] * 4 == await allowed(client, OURS)
        assert [None] * 4 == await allowed(client, OTHER)

    run(create_app(Settings(edge, KafkaSettings(bootstrap_servers=silent_kafka))), scenario)


def test_none_by_default(app: FastAPI, run: Callable[..., None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert [None] * 4 == await allowed(client, OURS)

    run(app, scenario)


@pytest.mark.parametrize("value", ["*", "todo.example", f"{OURS}/", f"{OURS}/path", f"{OURS}, {OTHER}"])
def test_what_is_no_origin_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="EDGE_CORS_ORIGINS"):
        load_settings({"EDGE_CORS_ORIGINS": value})
