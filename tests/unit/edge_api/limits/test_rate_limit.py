"""Who sends too much waits, exactly as long as is due; nobody else notices."""

from collections.abc import Callable
from ipaddress import ip_address

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from edge_api.limits import rate_limit
from edge_api.limits.rate_limit import BYTES_PER_TODO, Limit, RateLimits, address_key
from edge_api.main import create_app
from edge_api.observability.metrics import Metrics
from edge_api.problems import Problem
from edge_api.settings import EdgeSettings, Settings


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_limit, "time", clock)
    return clock


def retry_after(limit: Limit, key: str, count: int = 1) -> int:
    """0 where it is let in."""
    try:
        limit.acquire(key, count)
    except Problem as problem:
        return int((problem.headers or {})["Retry-After"])
    return 0


def test_a_burst_is_let_in_and_then_one_a_time(clock: Clock) -> None:
    metrics = Metrics()
    limit = Limit("owner", 2, 5, metrics)
    assert [0] * 10 == [retry_after(limit, "ann") for _ in range(10)]
    assert 1 == retry_after(limit, "ann")
    assert 0 == retry_after(limit, "bob")
    clock.now += 0.5
    assert [0, 1] == [retry_after(limit, "ann"), retry_after(limit, "ann")]
    assert {"owner": 2, "address": 0} == metrics.limited


def test_retry_after_is_when_there_is_room_again_and_no_sooner(clock: Clock) -> None:
    limit = Limit("owner", 0.1, 10, Metrics())
    assert [0, 10] == [retry_after(limit, "ann"), retry_after(limit, "ann")]
    clock.now += 9.5
    assert 1 == retry_after(limit, "ann")
    clock.now += 0.5
    assert 0 == retry_after(limit, "ann")


def test_a_batch_larger_than_the_burst_is_let_in_and_waited_for(clock: Clock) -> None:
    limit = Limit("owner", 10, 1, Metrics())
    assert 0 == retry_after(limit, "ann", 1000)
    assert 100 == retry_after(limit, "ann")
    clock.now += 100
    assert 0 == retry_after(limit, "ann")


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 50)), max_size=200))
def test_in_the_long_run_no_more_than_the_rate_and_the_last_batch(steps: list[tuple[float, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(rate_limit, "time", clock)
        limit, let_in, last = Limit("owner", 5, 4, Metrics()), 0, 0
        for seconds, count in steps:
            clock.now += seconds
            if retry_after(limit, "ann", count) == 0:
                let_in, last = let_in + count, count
        assert let_in <= 5 * (clock.now - Clock.now) + 5 * 4 + last


def test_memory_is_bounded_and_who_was_away_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "MAX_KEYS", 3)
    limit = Limit("address", 1, 10, Metrics())
    for key in ("a", "b", "c", "a", "d"):
        limit.acquire(key)
    assert ["c", "a", "d"] == list(limit.arrivals)


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("no address", "no address"),
    ],
)
def test_one_network_is_one_client(host: str, network: str) -> None:
    assert network == address_key(host)


@given(st.ip_addresses())
def test_every_address_has_a_bucket(address: object) -> None:
    assert ip_address(address_key(str(address)).partition("/")[0])


def test_batches_that_were_let_in_at_once_are_no_way_around_the_limit(clock: Clock) -> None:
    limits = RateLimits(EdgeSettings(auth="open", rate_limit_per_owner=1, rate_limit_burst_seconds=10), Metrics())
    for _ in range(2):
        limits.check_owner("ann")
    limits.charge_todos({"client": None}, "ann", 1000, size=1)
    with pytest.raises(Problem, match="try again in 991 s"):  # 1,001 were charged, of which 10 may come at once
        limits.charge_todos({"client": None}, "ann", 1000, size=1)


@pytest.mark.parametrize(
    ("size", "count", "charged"),
    [
        (1, 1, 1),
        (BYTES_PER_TODO, 1, 1),
        (BYTES_PER_TODO + 1, 1, 2),
        (64 * BYTES_PER_TODO, 1, 64),
        (64 * BYTES_PER_TODO, 64, 64),
        (64 * BYTES_PER_TODO, 1_000, 1_000),
        (1, 1_000, 1_000),
    ],
)
def test_a_request_is_charged_for_its_todos_or_for_its_bytes(clock: Clock, size: int, count: int, charged: int) -> None:
    limits = RateLimits(EdgeSettings(auth="open", rate_limit_per_owner=1, rate_limit_burst_seconds=1), Metrics())
    limits.check_owner("ann")
    limits.charge_bytes({"client": None}, "ann", size)
    limits.charge_todos({"client": None}, "ann", count, size)
    assert charged == retry_after(limits.active[0], "ann")


def test_what_is_off_limits_nobody() -> None:
    limits = RateLimits(EdgeSettings(auth="open"), Metrics())
    assert [] == limits.active
    for _ in range(1000):
        limits.check_address({"client": ("192.0.2.7", 1)})
        limits.check_owner("ann")


def test_the_edge_answers_429_with_retry_after_and_counts_each_todo(
    settings: Settings, run: Callable[..., None]
) -> None:
    edge = settings.edge.model_copy(update={"rate_limit_per_address": 2, "rate_limit_burst_seconds": 2})
    app: FastAPI = create_app(Settings(edge, settings.kafka))

    async def scenario(client: httpx.AsyncClient) -> None:
        one = await client.post("/new/", json={"title": "x"})
        batch = await client.post("/new/batch/", json=[{"title": "x"}] * 9)  # 10 of 4
        assert [503, 503] == [one.status_code, batch.status_code]  # let in; there is no Kafka
        for path, body in (("/new/", {"title": "x"}), ("/new/batch/", [{"title": "x"}])):
            refused = await client.post(path, json=body)
            assert 429 == refused.status_code
            assert "application/problem+json" == refused.headers["content-type"]
            assert 1 <= int(refused.headers["retry-after"]) <= 4
        assert 200 == (await client.get("/healthz")).status_code
        assert 'todo_edge_rate_limited_total{limit="address"} 2.0' in (await client.get("/metrics")).text

    run(app, scenario)
