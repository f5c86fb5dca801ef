"""Rate limits over several edge processes: what each let in is added up in Redis.

A request is judged by what this process knows, and never waits for Redis. What other processes let in within
EXCHANGE_SECONDS comes on top; it counts, so it has to be waited for afterwards. While Redis is away each process keeps
to the limits by itself, and does not tell afterwards, or a client would wait for what it was rightly allowed.
"""

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from edge_api.limits.rate_limit import Limit
from edge_api.observability.metrics import Metrics

log = logging.getLogger(__name__)

EXCHANGE_SECONDS = 0.1
TIMEOUT_SECONDS = 0.5
RETRY_SECONDS = 1.0
KEYS_AT_ONCE = 500  # one step of Redis, in which nobody else is served

# As Limit does it, on Redis' clock, in microseconds: adds to when each bucket is full, and says how long until then.
ADD_UP = """
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


class SharedLimits:
    """Goes on in a task of the running loop until `stop`."""

    def __init__(self, url: str, limits: list[Limit], metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._redis = Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)
        self._add_up = self._redis.register_script(ADD_UP)
        for limit in limits:
            limit.untold = Counter()
        metrics.limits_shared = True
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._redis.aclose()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self._exchange()
            except (RedisError, OSError, TimeoutError) as exc:
                self._note(is_shared=False, why=str(exc) or type(exc).__name__)
                await self._redis.connection_pool.disconnect()
                await asyncio.sleep(RETRY_SECONDS)
                for limit in self._limits:
                    limit.untold = Counter()
            else:
                self._note(is_shared=True)
                await asyncio.sleep(EXCHANGE_SECONDS)

    async def _exchange(self) -> None:
        for limit in self._limits:
            untold, limit.untold = limit.untold or Counter(), Counter()
            for some in _in_parts(untold):
                await self._tell(limit, some)
        if not self._metrics.limits_shared:
            await self._redis.ping()  # there may be nothing to tell

    async def _tell(self, limit: Limit, counts: list[tuple[str, int]]) -> None:
        keys = [f"todo:limit:{limit.who}:{key}" for key, _ in counts]
        now = time.monotonic()
        waits = await self._add_up(keys=keys, args=[round(count * limit.seconds_each * 1e6) for _, count in counts])
        for (key, _), wait in zip(counts, waits, strict=True):
            since = limit.untold[key] if limit.untold else 0  # let in while Redis reckoned
            limit.raise_to(key, now + wait / 1e6 + since * limit.seconds_each)

    def _note(self, *, is_shared: bool, why: str = "") -> None:
        if is_shared != self._metrics.limits_shared:
            log.warning("Rate limits: %s", "shared again" if is_shared else f"each process by itself: {why}")
        self._metrics.limits_shared = is_shared


def _in_parts(untold: Counter[str]) -> Iterator[list[tuple[str, int]]]:
    items = iter(untold.items())
    while some := list(itertools.islice(items, KEYS_AT_ONCE)):
        yield some
