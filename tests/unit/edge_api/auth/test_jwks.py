"""How keys are reloaded: in the background, on request but not too often, and never replaced by what cannot be read."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from edge_api.auth import jwks
from edge_api.auth.jwks import KeySet
from tests.support.tokens import Signer

ONE, TWO = Signer("one"), Signer("two")
DEADLINE = 10.0


class Source:
    """A file or server that holds `document`, and counts how often it is read."""

    def __init__(self, document: bytes) -> None:
        self.document, self.reads = document, 0

    def read(self, _source: str) -> bytes:
        self.reads += 1
        return self.document


def run(source: Source, scenario: Callable[[KeySet, list[str]], Awaitable[None]]) -> None:
    async def main() -> None:
        changes: list[str] = []
        keys = KeySet("keys", lambda: changes.append("changed"), source.read)
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
        assert await keys.find("one")
        reads = source.reads
        assert [None] * 100 == await asyncio.gather(*(keys.find(f"unknown-{number}") for number in range(100)))
        assert reads + 1 == source.reads
        assert await keys.find("one")
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
        keys = KeySet("keys", lambda: None, slow_read)
        await keys.start()
        await asyncio.to_thread(is_reading.wait, DEADLINE)
        source.document = TWO.jwks()
        wanted = asyncio.create_task(keys.find("two"))
        await asyncio.sleep(0)
        may_go_on.set()
        assert await wanted
        await keys.stop()

    asyncio.run(main())


def test_only_a_change_is_reported() -> None:
    source = Source(ONE.jwks())

    async def scenario(keys: KeySet, changes: list[str]) -> None:
        await keys.find("unknown")
        await keys.find("unknown")
        assert ["changed"] == changes
        source.document = ONE.jwks(TWO)
        assert await keys.find("two")
        assert ["changed"] * 2 == changes

    run(source, scenario)


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b'{"keys": 1}', b'{"keys": [{"kid": "two"'])
def test_keys_stay_when_the_source_cannot_be_read(document: bytes) -> None:
    source = Source(ONE.jwks())

    async def scenario(keys: KeySet, changes: list[str]) -> None:
        assert await keys.find("one")
        source.document = document
        assert await keys.find("two") is None
        assert (True, None) == (keys.is_stale, keys.unavailable_reason)
        assert await keys.find("one")
        source.document = TWO.jwks()
        assert await keys.find("two")
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
        for _ in range(3):
            assert await keys.find("one") is None
        source.document = ONE.jwks()
        assert await keys.find("one")

    run(source, scenario)
    assert lines == len([line for line in caplog.messages if line.startswith(("Cannot read", "Reading"))])


def test_a_source_without_keys_is_a_reason_to_be_unavailable() -> None:
    async def scenario(keys: KeySet, _changes: list[str]) -> None:
        assert await keys.find("one") is None
        assert keys.unavailable_reason is not None
        assert not keys.is_stale

    run(Source(b'{"keys": []}'), scenario)


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
