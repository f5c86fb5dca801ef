"""How many todos a second an owner and an address may send: a bucket for each, in the memory of this process.

With EDGE_REDIS_URL the processes tell each other what they let in, several times a second (`shared_limits.py`). No
request waits for that.
"""

import math
import time
from collections import Counter, OrderedDict
from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address, ip_network

from starlette.types import Scope

from edge_api.observability.metrics import Metrics
from edge_api.problems import Problem
from edge_api.settings import EdgeSettings

# Of each limit: about 20 MB. The bucket that was used longest ago gives way, and would begin full again.
MAX_BUCKETS = 100_000
ROUNDING_SECONDS = 1e-6


class Limit:
    """`rate` todos a second for each key, and `burst_seconds` of that at once (GCRA).

    All that is kept of a key is when its bucket will be full again. A batch is let in where there is room for one todo,
    and counts as many as it has: the next request waits the longer. So none is too large, and the rate is exact.
    """

    def __init__(self, who: str, rate: float, burst_seconds: float, metrics: Metrics) -> None:
        self.who, self.seconds_each = who, 1 / rate
        self.full_at: OrderedDict[str, float] = OrderedDict()
        self.untold: Counter[str] | None = None  # todos that other processes do not know of; None: nobody asks
        self._patience, self._metrics = max(burst_seconds, self.seconds_each), metrics

    def take(self, key: str, count: int = 1, *, room_for: int = 1) -> None:
        """Raises Problem 429 where there is no room for so many."""
        now = time.monotonic()
        full_at = max(self.full_at.get(key, now), now)
        wait = full_at + room_for * self.seconds_each - now - self._patience
        if wait > ROUNDING_SECONDS:
            self._metrics.limited[self.who] += 1
            raise _too_many(self.who, wait)
        self.raise_to(key, full_at + count * self.seconds_each)
        if self.untold is not None:
            self.untold[key] += count

    def raise_to(self, key: str, full_at: float) -> None:
        self.full_at[key] = max(full_at, self.full_at.get(key, full_at))
        self.full_at.move_to_end(key)
        if len(self.full_at) > MAX_BUCKETS:
            self.full_at.popitem(last=False)


class RateLimits:
    """The limits that are switched on. Raise Problem 429."""

    def __init__(self, settings: EdgeSettings, metrics: Metrics) -> None:
        def limit(who: str, rate: float) -> Limit | None:
            return Limit(who, rate, settings.rate_limit_burst_seconds, metrics) if rate else None

        self._owner = limit("owner", settings.rate_limit_per_owner)
        self._address = limit("address", settings.rate_limit_per_address)

    @property
    def switched_on(self) -> list[Limit]:
        return [each for each in (self._owner, self._address) if each]

    def of_address(self, scope: Scope) -> None:
        if self._address and scope["client"]:
            self._address.take(network_of(scope["client"][0]))

    def of_owner(self, owner: str) -> None:
        """Whoever is not signed in is limited by address alone."""
        if self._owner and owner:
            self._owner.take(owner)

    def rest_of_batch(self, scope: Scope, owner: str, count: int) -> None:
        """What a request that was let in holds beside its first todo."""
        if self._address and scope["client"]:
            self._address.take(network_of(scope["client"][0]), count, room_for=0)
        if self._owner and owner:
            self._owner.take(owner, count, room_for=0)


@lru_cache(4096)
def network_of(host: str) -> str:
    """Of IPv6 the /64, because whoever has one address there has all of them."""
    try:
        address = ip_address(host)
    except ValueError:  # a trusted proxy wrote something else
        return host[:64]
    if address.version == 4:
        return str(address)
    return str(address.ipv4_mapped or ip_network((address, 64), strict=False))


def _too_many(who: str, seconds: float) -> Problem:
    detail = f"Not stored: this {who} has sent too many todos; try again in {math.ceil(seconds)} s."
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(math.ceil(seconds))})
