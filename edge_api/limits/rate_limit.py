"""Rate limits of todos per owner and per address, each by GCRA in the memory of this process.

Each todo is charged, and for large bodies each BYTES_PER_TODO, because both cost the edge time.

With EDGE_REDIS_URL, edge_api.limits.shared adds up what several processes accept. No request waits for that.
"""

import math
import time
from collections import Counter, OrderedDict
from functools import lru_cache
from http import HTTPStatus

from starlette.types import Scope

from edge_api.observability.metrics import Metrics
from edge_api.problems import Problem
from edge_api.settings import EdgeSettings
from edge_api.shared.addresses import client_network

# About 20 MB for each limit. Beyond that the key that was used longest ago is dropped, and would start afresh.
MAX_KEYS = 100_000
ROUNDING_SECONDS = 1e-6
BYTES_PER_TODO = 16 * 1024


class Limit:
    """Accept `rate` todos a second for each key, and `burst_seconds` of that at once.

    GCRA keeps one number per key: the theoretical arrival time, at which the key has its whole burst again. A request
    is accepted where there is room for one todo, and is charged for all that it holds, so the next one waits longer.
    No batch is too large for a limit, and the rate stays exact. `kind` is "owner" or "address".
    """

    def __init__(self, kind: str, rate: float, burst_seconds: float, metrics: Metrics) -> None:
        self.kind = kind
        self.emission_interval = 1 / rate  # seconds for each todo
        self.arrivals: OrderedDict[str, float] = OrderedDict()  # by key, the theoretical arrival time
        self.pending: Counter[str] | None = None  # accepted, and not yet sent to Redis; None: limits are not shared
        self._burst_tolerance, self._metrics = max(burst_seconds, self.emission_interval), metrics

    def acquire(self, key: str, count: int = 1, *, room_for: int = 1) -> None:
        """Charge `count` todos. Raises Problem 429 if the key has no room for `room_for` of them."""
        now = time.monotonic()
        arrival = max(self.arrivals.get(key, now), now)
        wait = arrival + room_for * self.emission_interval - now - self._burst_tolerance
        if wait > ROUNDING_SECONDS:
            self._metrics.limited[self.kind] += 1
            raise _too_many(self.kind, wait)
        self.delay(key, arrival + count * self.emission_interval)
        if self.pending is not None:
            self.pending[key] += count

    def delay(self, key: str, arrival: float) -> None:
        """Raise the key's theoretical arrival time to `arrival`, if it is earlier."""
        self.arrivals[key] = max(arrival, self.arrivals.get(key, arrival))
        self.arrivals.move_to_end(key)
        if len(self.arrivals) > MAX_KEYS:
            self.arrivals.popitem(last=False)


class RateLimits:
    """The limits that the settings switch on. Methods raise Problem 429."""

    def __init__(self, settings: EdgeSettings, metrics: Metrics) -> None:
        def limit(kind: str, rate: float) -> Limit | None:
            return Limit(kind, rate, settings.rate_limit_burst_seconds, metrics) if rate else None

        self._owner = limit("owner", settings.rate_limit_per_owner)
        self._address = limit("address", settings.rate_limit_per_address)

    @property
    def active(self) -> list[Limit]:
        return [limit for limit in (self._owner, self._address) if limit]

    def check_address(self, scope: Scope) -> None:
        """Charge the client's address for one todo."""
        if self._address and scope["client"]:
            self._address.acquire(address_key(scope["client"][0]))

    def check_owner(self, owner: str) -> None:
        """Charge the owner for one todo; requests without a token are limited by address alone."""
        if self._owner and owner:
            self._owner.acquire(owner)

    def charge_bytes(self, scope: Scope, owner: str, size: int) -> None:
        """Charge both for a body of `size` bytes, now that it is read; it counts as a todo for each BYTES_PER_TODO.

        Refuses it if others used up the limit in the meantime; then many bodies at once are no way around it.
        """
        if size > BYTES_PER_TODO:
            self._charge(scope, owner, _todos_worth(size) - 1, room_for=0)

    def charge_todos(self, scope: Scope, owner: str, count: int, size: int) -> None:
        """Charge both for a batch of `count` todos, less what they were charged for its `size` in bytes. As above.

        What was charged for its bytes counts as room: no batch is too large for a limit.
        """
        charged = _todos_worth(size)
        if count > charged:
            self._charge(scope, owner, count - charged, room_for=1 - charged)

    def _charge(self, scope: Scope, owner: str, count: int, *, room_for: int) -> None:
        if self._address and scope["client"]:
            self._address.acquire(address_key(scope["client"][0]), count, room_for=room_for)
        if self._owner and owner:
            self._owner.acquire(owner, count, room_for=room_for)


def _todos_worth(size: int) -> int:
    return max(math.ceil(size / BYTES_PER_TODO), 1)


@lru_cache(4096)
def address_key(host: str) -> str:
    try:
        return str(client_network(host))
    except ValueError:  # a trusted proxy wrote something else
        return host[:64]


def _too_many(kind: str, seconds: float) -> Problem:
    detail = f"Not stored: this {kind} has sent too many todos; try again in {math.ceil(seconds)} s."
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(math.ceil(seconds))})
