"""The public keys that verify tokens: reloaded from a file or a URL in the background, never on the event loop."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from edge_api.contract.tokens import Key, read_jwks
from edge_api.shared.outages import Outage

log = logging.getLogger(__name__)

RELOAD_SECONDS = 5.0
# Bounds the reloads that unknown keys cause. A valid token of a new key waits for the next one, and is not refused.
MIN_RELOAD_SECONDS = 1.0
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


class KeySet:
    """Keep the keys of `source`, a path or URL, up to date; call `on_change` when they have changed.

    `unavailable_reason` says why there is no key at all, or is None. `is_stale` is true while `source` cannot be read.
    """

    def __init__(self, source: str, on_change: Callable[[], None], read: Callable[[str], bytes] = read_source) -> None:
        self._source, self._on_change, self._read = source, on_change, read
        self._keys: dict[str, Key] = {}
        self.unavailable_reason: str | None = "the keys of tokens are not known yet"
        self.is_stale = True
        self._started = time.monotonic()
        self._outage = Outage(log, "Cannot read the keys of tokens from EDGE_JWKS", "Reading the keys of tokens again")
        self._reload_requested = asyncio.Event()
        self._next_load: asyncio.Future[None] | None = None
        self._reloading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._next_load = asyncio.get_running_loop().create_future()
        self._reloading = asyncio.create_task(self._reload_forever())

    async def stop(self) -> None:
        if self._reloading:
            self._reloading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reloading

    async def find(self, kid: str) -> Key | None:
        """Return the key with this id, or None. An unknown id waits for the next reload, for the key may be new."""
        if kid not in self._keys and self._next_load is not None:
            self._reload_requested.set()
            await asyncio.wait([self._next_load], timeout=MIN_RELOAD_SECONDS + FETCH_SECONDS)
        return self._keys.get(kid)

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
        try:
            self._replace(read_jwks(await asyncio.to_thread(self._read, self._source)))
            self.is_stale = False
            self._outage.end()
        except Exception as exc:  # noqa: BLE001 - after any error of the source the keys stay as they were
            if self._keys or time.monotonic() - self._started > START_SECONDS:
                self._outage.begin(f"{type(exc).__name__}: {exc}")
            self.is_stale = True
        finally:
            if this_load is not None and not this_load.done():
                this_load.set_result(None)

    def _replace(self, keys: dict[str, Key]) -> None:
        if keys == self._keys and not self.unavailable_reason:
            return
        log.info("Keys of tokens: %s", ", ".join(sorted(keys)) or "none")
        self._keys, self.unavailable_reason = keys, None if keys else "there is no key to verify tokens with"
        self._on_change()
