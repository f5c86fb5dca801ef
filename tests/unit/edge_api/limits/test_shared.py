"""What a process tells Redis of the todos that it accepts, and what it learns from it; Redis itself is a fake here.

With a real one, and several processes: tests/integration/edge_api/test_shared_limits.py.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from edge_api.limits import shared
from edge_api.limits.rate_limit import Limit
from edge_api.limits.shared import SharedLimits
from edge_api.observability.metrics import Metrics
from edge_api.problems import Problem

DEADLINE = 10.0


class FakeRedis:
    """Adds up what it is told, by key in microseconds; `others` are todos of other processes."""

    def __init__(self) -> None:
        self.charged: Counter[str] = Counter()
        self.others: Counter[str] = Counter()
        self.calls = 0
        self.is_down = self.is_frozen = False
        self.during_call: Callable[[], None] = lambda: None
        self.connection_pool = self

    def register_script(self, _script: str) -> Callable[..., Awaitable[list[int]]]:
        return self._charge

    async def _charge(self, keys: list[str], args: list[int]) -> list[int]:
        self._fail_when_down()
        self.calls += 1
        self.charged.update(dict(zip(keys, args, strict=True)))
        self.during_call()
        return [self.charged[key] + self.others[key] for key in keys]

    async def ping(self) -> None:
        self._fail_when_down()

    async def disconnect(self) -> None:
        if self.is_frozen:
            raise RedisTimeoutError("Timed out closing connection")

    async def aclose(self) -> None:
        await self.disconnect()

    def _fail_when_down(self) -> None:
        if self.is_down:
            raise RedisConnectionError("down")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "EXCHANGE_SECONDS", 0.01)
    monkeypatch.setattr(shared, "RETRY_SECONDS", 0.01)


def owner_limit(metrics: Metrics, rate: float = 1, burst_seconds: float = 1000) -> Limit:
    return Limit("owner", rate, burst_seconds, metrics)


def run(redis: Any, limit: Limit, metrics: Metrics, scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        limits = SharedLimits(redis, [limit], metrics)
        try:
            await scenario()
        finally:
            await limits.stop()

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_each_accepted_todo_is_told_once() -> None:
    redis, metrics = FakeRedis(), Metrics()
    limit = owner_limit(metrics, rate=4)

    async def scenario() -> None:
        for _ in range(3):
            limit.acquire("ann")
        limit.acquire("bob", 10)
        expected = {"todo:limit:owner:ann": 750_000, "todo:limit:owner:bob": 2_500_000}
        await until(lambda: redis.charged == expected)
        await asyncio.sleep(0.05)
        assert redis.charged == expected

    run(redis, limit, metrics, scenario)


def test_todos_of_other_processes_count() -> None:
    redis, metrics = FakeRedis(), Metrics()
    limit = owner_limit(metrics, burst_seconds=10)
    redis.others["todo:limit:owner:ann"] = 1000 * 1_000_000

    async def scenario() -> None:
        limit.acquire("ann")
        await until(lambda: redis.calls > 0)
        with pytest.raises(Problem, match="this owner has sent too many todos"):
            limit.acquire("ann")
        limit.acquire("bob")

    run(redis, limit, metrics, scenario)


def test_todos_accepted_during_an_exchange_are_told_in_the_next() -> None:
    redis, metrics = FakeRedis(), Metrics()
    limit = owner_limit(metrics, rate=0.001, burst_seconds=10_000)

    def accept_once_more() -> None:
        redis.during_call = lambda: None
        limit.acquire("ann")

    redis.during_call = accept_once_more

    async def scenario() -> None:
        limit.acquire("ann")
        await until(lambda: redis.charged["todo:limit:owner:ann"] == 2_000 * 1_000_000)
        assert limit.arrivals["ann"] > time.monotonic() + 1_500  # both count here too

    run(redis, limit, metrics, scenario)


def test_many_keys_are_told_in_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "MAX_KEYS_PER_CALL", 3)
    redis, metrics = FakeRedis(), Metrics()
    limit = owner_limit(metrics)

    async def scenario() -> None:
        for number in range(8):
            limit.acquire(f"owner-{number}")
        await until(lambda: len(redis.charged) == 8)
        assert redis.calls == 3

    run(redis, limit, metrics, scenario)


def test_without_redis_each_process_limits_by_itself_and_tells_nothing_afterwards() -> None:
    redis, metrics = FakeRedis(), Metrics()
    limit = owner_limit(metrics, burst_seconds=3)
    redis.is_down = True

    async def scenario() -> None:
        await until(lambda: metrics.limits_shared is True)
        limit.acquire("ann", 3)
        await until(lambda: metrics.limits_shared is False)
        with pytest.raises(Problem):
            limit.acquire("ann")
        redis.is_down = False
        await until(lambda: metrics.limits_shared is True)
        limit.acquire("bob")
        await until(lambda: redis.calls > 0)
        assert list(redis.charged) == ["todo:limit:owner:bob"]

    run(redis, limit, metrics, scenario)


def test_a_connection_that_cannot_be_closed_does_not_end_the_exchange() -> None:
    """As over TLS, while Redis is frozen."""
    redis, metrics = FakeRedis(), Metrics()
    limit = owner_limit(metrics)

    async def scenario() -> None:
        redis.is_down = redis.is_frozen = True
        limit.acquire("ann")
        await until(lambda: metrics.limits_shared is False)
        redis.is_down = False
        await until(lambda: metrics.limits_shared is True)

    run(redis, limit, metrics, scenario)
