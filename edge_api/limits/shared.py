"""Rate limits over several edge processes: Redis adds up what each process accepts.

A request is judged by what this process knows, and never waits for Redis. Todos that other processes accept within
EXCHANGE_SECONDS come on top; they are counted, so clients wait for them afterwards. While Redis is down each process
applies the limits by itself. It does not report those todos later, or clients would wait for what they were allowed.
"""

import asyncio
import logging
import time
from collections import Counter
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from edge_api.limits.rate_limit import Limit
from edge_api.observability.metrics import Metrics

log = logging.getLogger(__name__)

EXCHANGE_SECONDS = 0.1
TIMEOUT_SECONDS = 0.5
RETRY_SECONDS = 1.0
MAX_KEYS_PER_CALL = 500  # while the script runs, Redis serves no other client

# GCRA as in Limit, on Redis' clock, in microseconds: charges each key, and returns the time until its whole burst.
CHARGE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local waits = {}
for i, key in ipairs(KEYS) do
    local wait = math.max(tonumber(redis.call('GET', key) or '0') - now, 0) + tonumber(ARGV[i])
    redis.call('SET', key, string.format('%.0f', now + wait), 'PX', math.ceil(wait / 1000) + 1)
    waits[i] = wait
end
return waits
"""


def connect(url: str) -> Redis:
    """Return a client; it connects when it is first used."""
    return Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)


class SharedLimits:
    """Exchange what `limits` accept with other processes, in a task of the running loop, until `stop`."""

    def __init__(self, redis: Redis, limits: list[Limit], metrics: Metrics) -> None:
        self._redis, self._limits, self._metrics = redis, limits, metrics
        self._charge = redis.register_script(CHARGE)
        for limit in limits:
            limit.pending = Counter()
        metrics.limits_shared = True
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self._exchange()
            except Exception as exc:  # noqa: BLE001 - if this task ended, the limits would never be shared again
                self._set_shared(False, reason=str(exc) or type(exc).__name__)
                # Over TLS it waits for Redis' farewell, and times out if Redis is frozen. It disconnects all the same.
                with suppress(RedisError, OSError):
                    await self._redis.connection_pool.disconnect()
                await asyncio.sleep(RETRY_SECONDS)
                for limit in self._limits:
                    limit.pending = Counter()
            else:
                self._set_shared(True)
                await asyncio.sleep(EXCHANGE_SECONDS)

    async def _exchange(self) -> None:
        for limit in self._limits:
            sent, limit.pending = list((limit.pending or {}).items()), Counter()
            for start in range(0, len(sent), MAX_KEYS_PER_CALL):
                await self._send(limit, sent[start : start + MAX_KEYS_PER_CALL])
        if not self._metrics.limits_shared:
            await self._redis.ping()  # there may have been nothing to send

    async def _send(self, limit: Limit, counts: list[tuple[str, int]]) -> None:
        keys = [f"todo:limit:{limit.kind}:{key}" for key, _ in counts]
        microseconds = [round(count * limit.emission_interval * 1e6) for _, count in counts]
        now = time.monotonic()
        waits = await self._charge(keys=keys, args=microseconds)
        for (key, _), wait in zip(counts, waits, strict=True):
            meanwhile = limit.pending[key] if limit.pending else 0  # accepted during the call
            limit.delay(key, now + wait / 1e6 + meanwhile * limit.emission_interval)

    def _set_shared(self, is_shared: bool, reason: str = "") -> None:
        if is_shared != self._metrics.limits_shared:
            log.warning("Rate limits: %s", "shared again" if is_shared else f"each process by itself: {reason}")
        self._metrics.limits_shared = is_shared
