"""Clients POST until they are paused; then nothing is in flight."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.chaos.journal import Journal
from tests.chaos.load import Load
from tests.support.waiting import eventually


class Edge(BaseHTTPRequestHandler):
    """An edge that refuses each request, slowly."""

    def do_POST(self) -> None:
        json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(0.05)
        body = b'{"status": 503}'
        self.send_response(503)
        self.send_header("Content-Length", f"{len(body)}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_edge() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Edge) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_nothing_is_in_flight_while_the_load_is_paused() -> None:
    journal = Journal()
    with running_edge() as url, Load(url, journal, rate=500) as load:
        eventually(lambda: journal.unconfirmed, seconds=10, what="a POST")
        with load.paused():
            sent = len(journal.unconfirmed)
            time.sleep(0.2)  # longer than any answer takes
            assert sent == len(journal.unconfirmed)
        eventually(lambda: len(journal.unconfirmed) > sent, seconds=10, what="a POST after the pause")
