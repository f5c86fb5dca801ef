"""The public keys that tokens are verified with: read from a file or a URL again and again, never on the event loop."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from edge_api.contract.tokens import Key, read_jwks

log = logging.getLogger(__name__)

RELOAD_SECONDS = 5.0
# No stranger's unknown key makes it ask more often; a good token of a new key waits for so long, and is not refused.
SHORTEST_SECONDS = 1.0
FETCH_SECONDS = 3.0
MAX_BYTES = 65_536


class Keys:
    """`problem` says why there is no key at all, or is None. `forget` is called when a key has gone."""

    def __init__(self, source: str, forget: Callable[[], None]) -> None:
        self._source, self._forget = source, forget
        self._keys: dict[str, Key] = {}
        self.problem: str | None = "the keys of tokens are not known yet"
        self.is_stale = True
        self._asked = asyncio.Event()
        self._next_load: asyncio.Future[None] | None = None

    async def start(self) -> None:
        self._next_load = asyncio.get_running_loop().create_future()
        self._loading = asyncio.create_task(self._load_for_ever())

    async def stop(self) -> None:
        self._loading.cancel()
        with suppress(asyncio.CancelledError):
            await self._loading

    async def find(self, kid: str) -> Key | None:
        """Looks again for one that is unknown: it may be new."""
        if kid not in self._keys and self._next_load is not None:
            self._asked.set()
            await asyncio.wait([self._next_load], timeout=SHORTEST_SECONDS + FETCH_SECONDS)
        return self._keys.get(kid)

    async def _load_for_ever(self) -> None:
        while True:
            await self._load()
            await asyncio.sleep(SHORTEST_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(RELOAD_SECONDS - SHORTEST_SECONDS):
                    await self._asked.wait()

    async def _load(self) -> None:
        # Who asks from here on waits for the load after this one.
        loaded, self._next_load = self._next_load, asyncio.get_running_loop().create_future()
        self._asked.clear()
        try:
            self._take(read_jwks(await asyncio.to_thread(_read, self._source)))
            self.is_stale = False
        except Exception as exc:  # noqa: BLE001 - whatever a file or a server may be, the keys stay what they were
            if not self.is_stale or self.problem:
                log.warning("Cannot read the keys of tokens from EDGE_JWKS: %s: %s", type(exc).__name__, exc)
            self.is_stale = True
        finally:
            if loaded is not None and not loaded.done():
                loaded.set_result(None)

    def _take(self, keys: dict[str, Key]) -> None:
        if keys == self._keys and not self.problem:
            return
        log.info("Keys of tokens: %s", ", ".join(sorted(keys)) or "none")
        self._keys, self.problem = keys, None if keys else "there is no key to verify tokens with"
        self._forget()


def _read(source: str) -> bytes:
    if "://" not in source:
        return Path(source).read_bytes()
    with urlopen(source, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - http or https, see settings
        document: bytes = answer.read(MAX_BYTES)
    return document
