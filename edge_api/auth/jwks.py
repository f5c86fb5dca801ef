"""The public keys that verify tokens: reloaded from a file or a URL in the background, never on the event loop."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from edge_api.contract.tokens import Key, read_jwks
from edge_api.shared.outages import Outage

log = logging.getLogger(__name__)

RELOAD_SECONDS = 5.0
# Bounds the reloads that unknown keys cause. A valid token of a new key waits for the next one, and is not refused.
MIN_RELOAD_SECONDS = 2.0
MAX_WAITING = 64  # requests; each keeps a connection waiting without having signed in
MAX_UNKNOWN = 1_000  # ids of 64 characters at most
FETCH_SECONDS = 3.0
# Django may still be starting meanwhile; /readyz says so, and a healthy start logs no warning.
START_SECONDS = 30.0
MAX_BYTES = 65_536


def read_source(source: str) -> bytes:
    """Return the content of a file, or the start of what a URL serves. Blocks for FETCH_SECONDS between two packets."""
    if "://" not in source:
        return Path(source).read_bytes()
    with urlopen(source, timeout=FETCH_SECONDS) as response:  # noqa: S310 - http or https, see settings
        document: bytes = response.read(MAX_BYTES)
    return document


class KeysUnavailable(Exception):
    """Raised when it cannot be known in time whether a key is valid; the message is for the client."""


class KeySet:
    """Keep the keys of `source`, a path or URL, up to date; call `on_change` when they have changed.

    Keys that were last read `max_age` seconds ago verify no more tokens, because they may have been retired since.
    `unavailable_reason` says why there is no key at all, or is None. `is_stale` is true while `source` cannot be read.
    """

    def __init__(
        self,
        source: str,
        max_age: float,
        on_change: Callable[[], None],
        read: Callable[[str], bytes] = read_source,
    ) -> None:
        self._source, self._max_age, self._on_change, self._read = source, max_age, on_change, read
        self._keys: dict[str, Key] = {}
        self.unavailable_reason: str | None = "the keys of tokens are not known yet"
        self.is_stale = False
        self._started = time.monotonic()
        self._read_at: float | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._outage = Outage(log, "Cannot read the keys of tokens from EDGE_JWKS", "Reading the keys of tokens again")
        self._unknown: OrderedDict[str, None] = OrderedDict()  # ids that the source did not have when it was asked
        self._waiting = 0  # requests
        self._reload_requested = asyncio.Event()
        self._next_load: asyncio.Future[None] | None = None
        self._reloading: asyncio.Task[None] | None = None

    @property
    def age(self) -> float | None:
        """Seconds since the source was last read, or None."""
        return None if self._read_at is None else time.monotonic() - self._read_at

    async def start(self) -> None:
        self._next_load = asyncio.get_running_loop().create_future()
        self._reloading = asyncio.create_task(self._reload_forever())

    async def stop(self) -> None:
        if self._expiry:
            self._expiry.cancel()
        if self._reloading:
            self._reloading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reloading

    async def find(self, kid: str, deadline: float) -> Key | None:
        """Return the key with this id, or None if the source does not have it.

        The first request with an unknown id waits for the next reload, because the key may be new. Raises
        KeysUnavailable if the source cannot be read, or not by `deadline`, or if MAX_WAITING requests wait already.
        """
        is_known = kid in self._keys or (kid in self._unknown and not self.is_stale)
        if is_known or self._next_load is None:
            return self._keys.get(kid)
        self._reload_requested.set()
        if not self.is_stale:
            await self._wait_for_load(self._next_load, deadline)
        if kid not in self._keys and self.is_stale:
            raise KeysUnavailable(self.unavailable_reason or "the key of the token cannot be looked up at the moment")
        if kid not in self._keys:
            self._remember_unknown(kid)
        return self._keys.get(kid)

    async def _wait_for_load(self, load: asyncio.Future[None], deadline: float) -> None:
        if self._waiting >= MAX_WAITING:
            raise KeysUnavailable("too many tokens with unknown keys are being looked up")
        self._waiting += 1
        try:
            await asyncio.wait([load], timeout=max(deadline - time.monotonic(), 0))
        finally:
            self._waiting -= 1
        if not load.done():
            raise KeysUnavailable("the key of the token was not found in time")

    def _remember_unknown(self, kid: str) -> None:
        """Spare the next requests with this id the wait. If the key appears after all, a reload finds it."""
        self._unknown[kid] = None
        if len(self._unknown) > MAX_UNKNOWN:
            self._unknown.popitem(last=False)

    async def _reload_forever(self) -> None:
        while True:
            await self._load()
            await asyncio.sleep(MIN_RELOAD_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(RELOAD_SECONDS - MIN_RELOAD_SECONDS):
                    await self._reload_requested.wait()

    async def _load(self) -> None:
        # A caller of find() from here on waits for the load after this one, which may have read the source already.
        this_load, self._next_load = self._next_load, asyncio.get_running_loop().create_future()
        self._reload_requested.clear()
        began = time.monotonic()
        try:
            keys = read_jwks(await asyncio.to_thread(self._read, self._source))
            self._replace(keys, None if keys else "there is no key to verify tokens with")
            for kid in keys:
                self._unknown.pop(kid, None)
            self.is_stale = False
            self._expire_after(began)
            self._outage.end()
        except Exception as exc:  # noqa: BLE001 - after any error of the source the keys stay as they were
            if self._keys or time.monotonic() - self._started > START_SECONDS:
                self._outage.begin(f"{type(exc).__name__}: {exc}")
            self.is_stale = True
        finally:
            if this_load is not None and not this_load.done():
                this_load.set_result(None)

    def _expire_after(self, read_at: float) -> None:
        """Let the keys expire in time. A timer does it, because the next reload may hang."""
        self._read_at = read_at
        if self._expiry:
            self._expiry.cancel()
        left = read_at + self._max_age - time.monotonic()
        self._expiry = asyncio.get_running_loop().call_later(left, self._expire)

    def _expire(self) -> None:
        self.is_stale = True
        reason = f"the keys of tokens could not be read for {self._max_age:g} s"
        log.error("Refusing tokens: %s", reason)
        self._replace({}, reason)

    def _replace(self, keys: dict[str, Key], unavailable_reason: str | None) -> None:
        if (keys, unavailable_reason) == (self._keys, self.unavailable_reason):
            return
        log.info("Keys of tokens: %s", ", ".join(sorted(keys)) or "none")
        self._keys, self.unavailable_reason = keys, unavailable_reason
        self._on_change()
