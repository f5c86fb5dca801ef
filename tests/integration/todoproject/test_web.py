"""The web process as the Procfile starts it."""

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from devstack.environment import ROOT
from devstack.ports import free_port
from devstack.process import Process
from tests.support.waiting import Stopwatch
from todoproject.settings import WEB_THREADS
from todoproject.web_worker import READ_SECONDS

SILENT = 64  # far more than there are threads


def procfile_line() -> str:
    (line,) = re.findall(r"^web: (.*)$", (ROOT / "Procfile").read_text(), re.MULTILINE)
    return str(line)


@pytest.fixture
def web_port(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    env = {"WEB_PORT": str(port), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    web = Process("web", ["sh", "-c", f"exec {procfile_line()}"], log=tmp_path / "web.log", env=env, cwd=ROOT)
    web.start()
    try:
        web.wait_ready(lambda: is_alive(port), seconds=30)
        yield port
    finally:
        web.stop()


def is_alive(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60).is_success
    except httpx.TransportError:
        return False


def test_silent_connections_hold_nobody_up_and_are_closed(web_port: int) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", web_port))) for _ in range(SILENT)]
        watch = Stopwatch()
        assert is_alive(web_port)
        assert watch.seconds < 2
        for connection in silent:
            connection.settimeout(60)
            assert connection.recv(1) == b""


def test_a_connection_may_speak_late(web_port: int) -> None:
    with socket.create_connection(("127.0.0.1", web_port), timeout=60) as late:
        time.sleep(1)
        late.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert late.recv(4096).startswith(b"HTTP/1.1 200")


def test_half_a_request_keeps_no_thread(web_port: int) -> None:
    with ExitStack() as stack:
        halves = [stack.enter_context(socket.create_connection(("127.0.0.1", web_port))) for _ in range(WEB_THREADS)]
        for half in halves:
            half.sendall(b"GET /")
        for half in halves:
            half.settimeout(READ_SECONDS + 60)
            assert half.recv(1) == b""
    assert is_alive(web_port)


def test_only_utf8_is_read(web_port: int) -> None:
    """Of the query too: in UTF-7 it may hold what PostgreSQL cannot store, and no wrong password would be counted."""
    cases = {"": 200, "; charset=utf-8": 200, "; charset=UTF8": 200, "; charset=utf-7": 415, "; charset=base64": 415}
    for charset, status in cases.items():
        headers = {"Content-Type": f"multipart/form-data; boundary=x{charset}"}
        answer = httpx.get(f"http://127.0.0.1:{web_port}/healthz?x=%2B2AA-", headers=headers)
        assert status == answer.status_code, charset
    assert "application/problem+json" == answer.headers["Content-Type"]


def test_headers_are_bounded(web_port: int) -> None:
    cases = {
        b"GET /healthz?" + b"x" * 4000 + b" HTTP/1.1\r\n": b"200",
        b"GET /healthz?" + b"x" * 5000 + b" HTTP/1.1\r\n": b"414",
        b"GET /healthz HTTP/1.1\r\n" + b"X: 1\r\n" * 98: b"200",
        b"GET /healthz HTTP/1.1\r\n" + b"X: 1\r\n" * 100: b"431",
        b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 8000 + b"\r\n": b"200",
        b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n": b"431",
    }
    for request, status in cases.items():
        with socket.create_connection(("127.0.0.1", web_port), timeout=60) as client:
            client.sendall(request + b"Host: localhost\r\nConnection: close\r\n\r\n")
            assert status == client.recv(4096).split()[1], request[:80]


def test_the_image_serves_likewise() -> None:
    dockerfile = (ROOT / "docker" / "django.Dockerfile").read_text()
    (config,) = re.findall(r"--config (\S+)", procfile_line())
    assert f'CMD ["gunicorn", "--config={config}"' in dockerfile
