"""How keys are reloaded: in the background, on request but not too often, and never replaced by what cannot be read."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from edge_api.auth import jwks
from edge_api.auth.jwks import KeySet, KeysUnavailable
from edge_api.contract.tokens import Key
from tests.support.tokens import Signer

ONE, TWO = Signer("one"), Signer("two")
DEADLINE = 10.0
MAX_AGE = 1000.0


class Source:
    """A file or server that holds `document`, and counts how often it is read."""

    def __init__(self, document: bytes) -> None:
        self.document, self.reads = document, 0

    def read(self, _source: str) -> bytes:
        self.reads += 1
        return self.document


async def find(keys: KeySet, kid: str, seconds: float = DEADLINE) -> Key | None:
    return await keys.find(kid, time.monotonic() + seconds)


async def find_soon(keys: KeySet, kid: str) -> Key | None:
    """Try again while the source is known to be unavailable, as a client does after a 503."""
    while True:
        with suppress(KeysUnavailable):
            return await find(keys, kid)
        await asyncio.sleep(0.01)


def run(source: Source, scenario: Callable[[KeySet, list[str]], Awaitable[None]]) -> None:
    async def main() -> None:
        changes: list[str] = []
        keys = KeySet("keys", MAX_AGE, lambda: changes.append("changed"), source.read)
        await keys.start()
        try:
            await asyncio.wait_for(scenario(keys, changes), DEADLINE)
        finally:
            await keys.stop()

    asyncio.run(main())


@pytest.fixture(autouse=True)
def _no_reload_but_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "MIN_RELOAD_SECONDS", 0.05)
    monkeypatch.setattr(jwks, "RELOAD_SECONDS", 1000.0)


def test_requests_for_unknown_keys_share_a_reload() -> None:
    source = Source(ONE.jwks())

    async def scenario(keys: KeySet, _changes: list[str]) -> None:
        assert await find(keys, "one")
        reads = source.reads
        assert [None] * 50 == await asyncio.gather(*(find(keys, f"unknown-{number}") for number in range(50)))
        assert reads + 1 == source.reads
        assert await find(keys, "one")
        assert reads + 1 == source.reads

    run(source, scenario)


def test_a_request_during_a_load_waits_for_the_next_one() -> None:
    """The load under way may have read the source before the key was there."""
    source, is_reading, may_go_on = Source(ONE.jwks()), threading.Event(), threading.Event()

    def slow_read(_source: str) -> bytes:
        document = source.document
        is_reading.set()
        may_go_on.wait(DEADLINE)
        return document

    async def main() -> None:
        keys = KeySet("keys", MAX_AGE, lambda: None, slow_read)
        await keys.start()
        await asyncio.to_thread(is_reading.wait, DEADLINE)
        source.document = TWO.jwks()
        wanted = asyncio.create_task(find(keys, "two"))
        await asyncio.sleep(0)
        may_go_on.set()
        assert await wanted
        await keys.stop()

    asyncio.run(main())


def test_only_a_change_is_reported() -> None:
    source = Source(ONE.jwks())

    async def scenario(keys: KeySet, changes: list[str]) -> None:
        await find(keys, "unknown")
        await find(keys, "also unknown")
        assert ["changed"] == changes
        source.document = ONE.jwks(TWO)
        assert await find(keys, "two")
        assert ["changed"] * 2 == changes

    run(source, scenario)


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b'{"keys": 1}', b'{"keys": [{"kid": "two"'])
def test_keys_stay_when_the_source_cannot_be_read(document: bytes) -> None:
    source = Source(ONE.jwks())

    async def scenario(keys: KeySet, changes: list[str]) -> None:
        assert await find(keys, "one")
        source.document = document
        for _ in range(2):
            with pytest.raises(KeysUnavailable, match="cannot be looked up"):
                await find(keys, "two")
        assert (True, None) == (keys.is_stale, keys.unavailable_reason)
        assert await find(keys, "one")
        source.document = TWO.jwks()
        assert await find_soon(keys, "two")
        assert not keys.is_stale

    run(source, scenario)


@pytest.mark.parametrize(("start_seconds", "lines"), [(1000, 0), (0, 2)], ids=["starting", "started"])
def test_a_source_that_cannot_be_read_is_one_line_and_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, start_seconds: float, lines: int
) -> None:
    """Django may take a while to start beside the edge; after that, each outage is news once."""
    monkeypatch.setattr(jwks, "START_SECONDS", start_seconds)
    caplog.set_level(logging.INFO)
    source = Source(b"")

    async def scenario(keys: KeySet, _changes: list[str]) -> None:
        while source.reads < 3:
            with pytest.raises(KeysUnavailable):
                await find(keys, "one")
            await asyncio.sleep(0.01)
        source.document = ONE.jwks()
        assert await find_soon(keys, "one")

    run(source, scenario)
    assert lines == len([line for line in caplog.messages if line.startswith(("Cannot read", "Reading"))])


def test_a_source_without_keys_is_a_reason_to_be_unavailable() -> None:
    async def scenario(keys: KeySet, _changes: list[str]) -> None:
        assert await find(keys, "one") is None
        assert keys.unavailable_reason is not None
        assert not keys.is_stale

    run(Source(b'{"keys": []}'), scenario)


def test_an_id_that_the_source_did_not_have_waits_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "MAX_UNKNOWN", 2)
    source = Source(ONE.jwks())

    async def scenario(keys: KeySet, _changes: list[str]) -> None:
        for kid in ("a", "b", "c"):
            assert await find(keys, kid) is None
        reads = source.reads
        assert [None, None] == [await find(keys, kid) for kid in ("b", "c")]
        assert reads == source.reads
        assert await find(keys, "a") is None  # it made room for the others
        assert reads + 1 == source.reads
        source.document = ONE.jwks(Signer("c"))
        assert await find(keys, "d") is None  # makes it reload
        assert await find(keys, "c")

    run(source, scenario)


def test_an_id_that_was_asked_for_too_early_is_an_id_like_any_other_once_published() -> None:
    source = Source(ONE.jwks())

    async def scenario(keys: KeySet, _changes: list[str]) -> None:
        assert await find(keys, "two") is None
        source.document = ONE.jwks(TWO)
        assert await find(keys, "makes it reload") is None
        assert await find(keys, "two")
        source.document = ONE.jwks()
        assert await find(keys, "makes it forget") is None
        source.document = TWO.jwks()
        assert await find(keys, "two")  # it waits for the next reload again

    run(source, scenario)


def test_during_an_outage_no_id_is_known_to_be_unknown() -> None:
    """Its key may have been published since, and a 401 would make the client throw its token away."""
    source = Source(ONE.jwks())

    async def scenario(keys: KeySet, _changes: list[str]) -> None:
        assert await find(keys, "two") is None
        source.document = b"{"
        for kid in ("makes it reload", "two"):
            with pytest.raises(KeysUnavailable, match="cannot be looked up"):
                await find(keys, kid)
        source.document = TWO.jwks()
        assert await find_soon(keys, "two")

    run(source, scenario)


class Gate:
    """A source that is read only while it is open."""

    def __init__(self) -> None:
        self.is_open = threading.Event()

    def read(self, _source: str) -> bytes:
        self.is_open.wait(DEADLINE)
        return ONE.jwks()


def with_gate(scenario: Callable[[KeySet, Gate], Awaitable[None]]) -> None:
    async def main() -> None:
        gate = Gate()
        keys = KeySet("keys", MAX_AGE, lambda: None, gate.read)
        await keys.start()
        try:
            await asyncio.wait_for(scenario(keys, gate), DEADLINE)
        finally:
            gate.is_open.set()
            await keys.stop()

    asyncio.run(main())


def test_no_more_than_a_few_requests_wait_for_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "MAX_WAITING", 3)

    async def scenario(keys: KeySet, gate: Gate) -> None:
        waiting = [asyncio.create_task(find(keys, "one")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(KeysUnavailable, match="too many"):
            await find(keys, "invented")
        waiting.pop().cancel()  # its client has gone
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(find(keys, "one")))
        gate.is_open.set()
        assert all(await asyncio.gather(*waiting))

    with_gate(scenario)


def test_a_wait_for_a_key_ends_with_the_request_s_deadline() -> None:
    async def scenario(keys: KeySet, _gate: Gate) -> None:
        with pytest.raises(KeysUnavailable, match="not found in time"):
            await find(keys, "one", seconds=0.05)

    with_gate(scenario)


@pytest.mark.parametrize("hangs", [False, True], ids=["source is down", "source hangs"])
def test_keys_that_could_not_be_read_for_too_long_verify_nothing(hangs: bool) -> None:
    """Retired keys end this way while nothing tells of it."""
    source, changes, may_go_on = Source(ONE.jwks()), list[str](), threading.Event()

    def read(path: str) -> bytes:
        if source.reads and hangs:
            may_go_on.wait(DEADLINE)
        return source.read(path)

    async def main() -> None:
        keys = KeySet("keys", 0.3, lambda: changes.append("changed"), read)
        await keys.start()
        try:
            assert await find(keys, "one")
            source.document = b"{"
            async with asyncio.timeout(DEADLINE):
                while keys.unavailable_reason is None:
                    await asyncio.sleep(0.01)
            assert keys.unavailable_reason == "the keys of tokens could not be read for 0.3 s"
            with pytest.raises(KeysUnavailable, match="could not be read for"):
                await find(keys, "one")
            assert keys.age is not None
            assert keys.age >= 0.3
            assert ["changed"] * 2 == changes  # verified tokens are forgotten too
            source.document = ONE.jwks()
            may_go_on.set()
            assert await asyncio.wait_for(find_soon(keys, "one"), DEADLINE)
            assert keys.unavailable_reason is None
        finally:
            may_go_on.set()
            await keys.stop()

    asyncio.run(main())


def test_keys_that_are_read_again_and_again_do_not_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "RELOAD_SECONDS", 0.05)
    source = Source(ONE.jwks())

    async def main() -> None:
        keys, began = KeySet("keys", 2.0, lambda: None, source.read), time.monotonic()
        await keys.start()
        try:
            while time.monotonic() < began + 2.5:
                assert await find(keys, "one")
                await asyncio.sleep(0.05)
        finally:
            await keys.stop()

    asyncio.run(main())


def test_a_url_is_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "MAX_BYTES", 10)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * 100)

        def log_message(self, *_args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert b"x" * 10 == jwks.read_source(f"http://127.0.0.1:{server.server_port}/")
        thread.join()
