"""The edge's /metrics, without Kafka; what Kafka acknowledges is in tests/integration/edge_api/test_metrics.py."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fastapi import FastAPI

from devstack.environment import ROOT
from edge_api.observability.metrics import ACK_BUCKETS, Metrics, Now
from tests.support.metrics import samples

JSON = {"Content-Type": "application/json"}
MONITORING = ROOT / "docker" / "monitoring"


def test_refusals_are_counted_by_status(app: FastAPI, run: Callable[..., None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for body in (b'{"title": ""}', b"x", b'{"title": "fine"}'):
            await client.post("/new/", content=body, headers=JSON)
        await client.post("/new", content=b"x", headers=JSON)
        await client.post("/new/batch/", content=b'[{"title": ""}, {"title": "a"}]', headers=JSON)
        found.update(samples((await client.get("/metrics")).text))

    found: dict[str, float] = {}
    run(app, scenario)

    assert {"422": 1, "400": 2, "503": 1} == {
        status: found[f"todo_edge_requests_total{{route=/new/,status={status}}}"] for status in ("422", "400", "503")
    }
    assert 1 == found["todo_edge_requests_total{route=/new/batch/,status=503}"]
    assert (0, 4, 2) == tuple(
        found[f"todo_edge_todos_total{{outcome={outcome}}}"] for outcome in ("accepted", "rejected", "unconfirmed")
    )
    assert (0, 0) == (found["todo_edge_ready{}"], found["todo_edge_in_flight_todos{}"])


UNREADABLE: list[dict[str, Any]] = [
    {"content": b"x", "headers": JSON},
    {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
    {"content": b"{}", "headers": JSON | {"Idempotency-Key": ""}},
    {"content": b" " * 20_000_000, "headers": JSON},
    {"content": b"7", "headers": JSON},
]


@pytest.mark.parametrize("path", ["/new/", "/new/batch/"])
@pytest.mark.parametrize("request_options", UNREADABLE)
def test_a_request_that_cannot_be_read_counts_as_one_todo_wherever_it_was_sent(
    app: FastAPI, run: Callable[..., None], path: str, request_options: dict[str, Any]
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        answer = await client.post(path, **request_options)
        assert 400 <= answer.status_code < 500
        found.update(samples((await client.get("/metrics")).text))

    found: dict[str, float] = {}
    run(app, scenario)

    assert 1 == found["todo_edge_todos_total{outcome=rejected}"]


def test_acknowledgements_fall_into_their_buckets() -> None:
    metrics = Metrics()
    metrics.now = lambda: Now(is_ready=True, todos_in_flight=0, bytes_in_flight=0)
    metrics.acknowledged(0.001, 2)
    metrics.acknowledged(0.0011, 3)
    metrics.acknowledged(99, 1)

    found = samples(metrics.expose().decode())

    counts = [found[f"todo_edge_ack_seconds_bucket{{le={bound}}}"] for bound in (*ACK_BUCKETS, "+Inf")]
    assert [2, *[5] * (len(ACK_BUCKETS) - 1), 6] == counts
    assert 6 == found["todo_edge_ack_seconds_count{}"]
    assert abs(0.002 + 0.0033 + 99 - found["todo_edge_ack_seconds_sum{}"]) < 1e-9


def test_every_metric_of_dashboard_and_alerts_exists() -> None:
    metrics = Metrics()
    metrics.now = lambda: Now(is_ready=True, todos_in_flight=0, bytes_in_flight=0)
    metrics.requests["/new/", 202] += 1
    known = {name.partition("{")[0] for name in samples(metrics.expose().decode())}

    asked = names_in(json.loads((MONITORING / "grafana" / "dashboards" / "todo-pipeline.json").read_text()))
    asked |= names_in(yaml.safe_load((MONITORING / "alerts.yml").read_text()))

    assert asked <= known
    assert "todo_edge_ack_seconds_bucket" in asked


def names_in(document: object) -> set[str]:
    return set(re.findall(r"\btodo_edge_\w+", json.dumps(document)))


def test_the_files_that_prometheus_and_grafana_read_are_there() -> None:
    compose = yaml.safe_load((ROOT / "compose.yml").read_text())
    for service in ("prometheus", "grafana"):
        sources = [volume.split(":")[0] for volume in compose["services"][service]["volumes"]]
        assert [] == [source for source in sources if source.startswith("./") and not Path(ROOT / source).exists()]
