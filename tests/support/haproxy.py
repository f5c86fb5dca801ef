"""HAProxy with the configuration that compose and Kubernetes use, and a server that keeps what it passes on."""

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from devstack.ports import free_port
from devstack.process import Process
from docker.check_proxy import CONFIG

OUTER_PROXY = "127.0.0.2"  # requests from this address come by a proxy in front; those from 127.0.0.1 by none
needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not here (Debian: haproxy)")


class HAProxy:
    """`docker/k8s/haproxy.cfg` on free ports of loopback; only the addresses and the numbers of servers are changed."""

    def __init__(self, folder: Path, edge: str, web: str) -> None:
        """`edge` and `web` are host:port of the servers."""
        self.ports = {"edge": free_port(), "web": free_port()}
        self._health = free_port()
        text = CONFIG.read_text()
        for port, free in ((7007, self.ports["edge"]), (7008, self.ports["web"]), (7000, self._health)):
            text = text.replace(f"bind :{port}", f"bind 127.0.0.1:{free}")
        config = folder / "haproxy.cfg"
        config.write_text(re.sub(r" 32 \"", ' 1 "', text))
        env = {"EDGE_SERVERS": edge, "WEB_SERVERS": web, "OUTER_PROXIES": OUTER_PROXY}
        self.process = Process("haproxy", ["haproxy", "-f", str(config)], log=folder / "haproxy.log", env=env)

    @contextmanager
    def running(self) -> Iterator["HAProxy"]:
        self.process.start()
        try:
            self.process.wait_ready(lambda: listens(self._health), seconds=30)
            yield self
        finally:
            self.process.stop()

    def send(self, side: str, method: str, target: str, body: bytes | None = None, **options: object) -> "Answer":
        """Send one request to the port of `side`; `options` are those of `request`."""
        return request(self.ports[side], method, target, body, **options)  # type: ignore[arg-type]

    def connect(self, side: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[side]), timeout=60)


class Answer:
    def __init__(self, response: HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def is_problem(self) -> bool:
        return self.headers["Content-Type"] == "application/problem+json"


def request(
    port: int,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    source: str = "127.0.0.1",
) -> Answer:
    """Send one request with exactly this target, from the address `source`."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60, source_address=(source, 0))
    try:
        connection.request(method, target, body, {"Content-Type": "application/json"} | (headers or {}))
        return Answer(connection.getresponse())
    finally:
        connection.close()


def listens(port: int) -> bool:
    try:
        return request(port, "GET", "/healthz").status == 200
    except OSError:
        return False


def has_trailer_options() -> bool:
    """Return whether this HAProxy can drop trailers."""
    if shutil.which("haproxy") is None:
        return False
    version = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout
    major, minor = re.findall(r"version (\d+)\.(\d+)", version)[0]
    return (int(major), int(minor)) >= (3, 2)


class Recorder(ThreadingTCPServer):
    """Answers 200 to each request, and keeps the bytes of all but HAProxy's own checks."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Record)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.requests: list[bytes] = []

    @contextmanager
    def running(self) -> Iterator["Recorder"]:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()


class _Record(StreamRequestHandler):
    server: Recorder

    def handle(self) -> None:
        with suppress(ConnectionError):  # as HAProxy's checks end
            self._serve()

    def _serve(self) -> None:
        while head := self._read_until(b"\r\n"):
            body = b""
            if b"\r\ntransfer-encoding: chunked\r\n" in head:
                while size := int(line := self.rfile.readline(), 16):
                    body += line + self.rfile.read(size + 2)
                body += line + self._read_until(b"\r\n")
            elif length := re.search(rb"\r\ncontent-length: (\d+)\r\n", head):
                body = self.rfile.read(int(length[1]))
            if b" HTTP/1.1\r\n" in head:
                self.server.requests.append(head + body)
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def _read_until(self, last: bytes) -> bytes:
        """Return all lines to this one, or nothing when the connection ends first."""
        lines = []
        while line := self.rfile.readline():
            lines.append(line)
            if line == last:
                return b"".join(lines)
        return b""
