"""The web process as the Procfile starts it, before slow, silent and hostile clients."""

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from django.contrib.staticfiles import finders
from django.db import connection
from pytest_django import Settings

from devstack.environment import ROOT
from devstack.ports import free_port
from devstack.process import Process
from tests.support.stack import children, runs
from tests.support.waiting import Stopwatch, eventually
from todoproject.web import BOUNDS, PROCESSES, refuse_debug
from todos.tokens.keys import make_first

MANY = 300  # connections: far more than there are threads
GUESSERS, PROBES = 64, 5
ANSWER_SECONDS = 1.0  # the promise to probes
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
SCRIPT = "drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"  # 1.5 MB


class Web:
    def __init__(self, process: Process, port: int) -> None:
        self.process, self.port, self.url = process, port, f"http://127.0.0.1:{port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def status(self, path: str = "/healthz", **headers: str) -> int:
        return httpx.get(self.url + path, headers=headers, timeout=60).status_code

    def is_ready(self) -> bool:
        try:
            return self.status() == 200 and len(self.workers()) == PROCESSES
        except httpx.TransportError:
            return False

    def log(self) -> str:
        assert self.process.log
        return self.process.log.read_text()

    def workers(self) -> list[psutil.Process]:
        """The processes that serve; multiprocessing has another one that tracks its resources."""
        return [child for child in children(self.process) if runs(child) and "spawn_main" in " ".join(child.cmdline())]


def procfile_line() -> str:
    (line,) = re.findall(r"^web: (.*)$", (ROOT / "Procfile").read_text(), re.MULTILINE)
    return str(line)


@contextmanager
def running(folder: Path, **env: str) -> Iterator[Web]:
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env |= {"WEB_PORT": str(port), "PATH": path}
    process = Process("web", ["sh", "-c", f"exec {procfile_line()}"], log=folder / "web.log", env=env, cwd=ROOT)
    process.start()
    web = Web(process, port)
    try:
        process.wait_ready(web.is_ready, seconds=60)
        yield web
    finally:
        process.stop()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Without a database, which nothing here asks for."""
    with running(tmp_path_factory.mktemp("web")) as web:
        yield web


@pytest.fixture
def own_web(tmp_path: Path) -> Iterator[Web]:
    with running(tmp_path) as web:
        yield web


def promptly(web: Web, *paths: str) -> None:
    """Each of these answers within the promise."""
    for path in paths:
        watch = Stopwatch()
        assert web.status(path) in {200, 204}, path
        assert watch.seconds < ANSWER_SECONDS, path


# --- Slow clients


def test_clients_that_send_less_than_a_request_delay_no_other_and_are_closed(web: Web) -> None:
    half_a_body = b"POST /api/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1"
    with ExitStack() as stack:
        clients = [stack.enter_context(web.connect()) for _ in range(MANY)]
        for client, sent in zip(clients, itertools.cycle([b"", b"G", GET, half_a_body]), strict=False):
            client.sendall(sent)
        promptly(web, "/healthz", "/favicon.ico")
        for client in clients:
            assert client.recv(100).startswith(b"HTTP/1.1 408 ")


def test_clients_that_do_not_close_delay_no_other(web: Web) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(web.connect()) for _ in range(60)]
        for client in clients:
            client.sendall(GET + b"Connection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        promptly(web, "/healthz")


def test_clients_that_do_not_read_delay_no_other_and_are_closed(web: Web) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(web.connect()) for _ in range(60)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /static/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % SCRIPT.encode() * 8)
        promptly(web, "/healthz")
        eventually(
            lambda: connections_of(web) < 10,
            seconds=BOUNDS.write_seconds + 10,
            what="connections to be closed",
        )


def connections_of(web: Web) -> int:
    established = [c for worker in web.workers() for c in worker.net_connections("tcp") if c.status == "ESTABLISHED"]
    return sum(c.laddr.port == web.port for c in established)


def test_a_connection_may_speak_late(web: Web) -> None:
    with web.connect() as late:
        threading.Event().wait(1)
        late.sendall(GET + b"Connection: close\r\n\r\n")
        assert late.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_client_that_closes_its_half_gets_the_answer(web: Web) -> None:
    with web.connect() as client:
        client.sendall(GET + b"\r\n")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.django_db(transaction=True)
def test_probes_and_keys_answer_while_many_guess_passwords(tmp_path: Path) -> None:
    make_first()
    stop = threading.Event()
    database = connection.settings_dict
    url = f"postgres://{database['USER']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"

    def guess(web: Web, number: int) -> set[bytes]:
        """As fast as the answers come, on a bare socket: a library would keep this process busier than the web."""
        body = b'{"username": "user-%d", "password": "wrong"}' % number  # pragma: allowlist secret
        head = b"POST /api/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        statuses = set()
        with web.connect() as client:
            while not stop.is_set():
                client.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                statuses.add(client.recv(65_536).split()[1])
        return statuses

    with running(tmp_path, DATABASE_URL=url) as web, ThreadPoolExecutor(GUESSERS) as pool:
        guessers = [pool.submit(guess, web, number) for number in range(GUESSERS)]
        try:
            for _ in range(PROBES):
                promptly(web, "/healthz", "/readyz", "/.well-known/jwks.json")
        finally:
            stop.set()
        assert {b"401", b"429"} == set().union(*[guesser.result() for guesser in guessers])


# --- What is served


def test_static_files_arrive_whole(web: Web) -> None:
    path = finders.find(SCRIPT)
    assert isinstance(path, str)
    response = httpx.get(f"{web.url}/static/{SCRIPT}", timeout=60)
    assert Path(path).read_bytes() == response.content
    head = httpx.head(f"{web.url}/static/{SCRIPT}", timeout=60)
    assert (str(len(response.content)), b"") == (head.headers["Content-Length"], head.content)


def test_only_utf8_is_read(web: Web) -> None:
    """Of the query too: in UTF-7 it may hold what PostgreSQL cannot store, and no wrong password would be counted."""
    cases = {"": 200, "; charset=utf-8": 200, "; charset=UTF8": 200, "; charset=utf-7": 415, "; charset=base64": 415}
    for charset, status in cases.items():
        headers = {"Content-Type": f"multipart/form-data; boundary=x{charset}"}
        answer = httpx.get(f"{web.url}/healthz?x=%2B2AA-", headers=headers)
        assert status == answer.status_code, charset
    assert "application/problem+json" == answer.headers["Content-Type"]


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        ("GET /healthz?" + "x" * 15_000, "", 200),
        ("GET /healthz?" + "x" * 17_000, "", 431),
        ("GET /healthz", "X: 1\r\n" * 98, 200),
        ("GET /healthz", "X: 1\r\n" * 100, 431),
        ("GET /%68ealthz", "", 400),
        ("GET /healthz", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n", 200),
        ("POST /admin/login/", "Content-Length: 2621441\r\n", 413),
    ],
)
def test_heads_and_bodies_are_bounded(web: Web, request_line: str, headers: str, status: int) -> None:
    with web.connect() as client:
        client.sendall(f"{request_line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        assert str(status).encode() == client.recv(4096).split()[1]


def test_a_request_is_one_line_of_the_log_whatever_it_holds(own_web: Web) -> None:
    cases = {
        ("/", "evil.example"): 400,
        ("/healthz", "evil.example"): 400,
        ("/%C2%9B2J%E2%80%A8%E2%80%AE", "localhost"): 404,
    }
    before = len(own_web.log())
    for (path, host), status in cases.items():
        with own_web.connect() as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            assert str(status).encode() == client.recv(4096).split()[1]
    lines = own_web.log()[before:].removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    requests = [line for line in lines if " in " in line]  # a busy process may have told of itself too
    assert [f" {status} in " in line for status, line in zip(cases.values(), requests, strict=True)] == [True] * 3


# --- Start and end


def test_the_last_requests_are_answered_after_sigterm(own_web: Web) -> None:
    with own_web.connect() as client, own_web.connect() as idle:
        client.sendall(
            b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")  # the web process waits for the body
        os.kill(own_web.process.pid or 0, signal.SIGTERM)
        assert idle.recv(1) == b""
        client.sendall(b"{}")
        assert client.recv(4096).startswith(b"HTTP/1.1 405 ")
    assert 0 == own_web.process.wait(60)


def test_a_process_that_dies_is_replaced(own_web: Web) -> None:
    victim = own_web.workers()[0]
    victim.kill()
    eventually(lambda: not runs(victim) and own_web.is_ready(), seconds=60, what="another process")


def test_without_the_main_process_the_others_end(own_web: Web) -> None:
    workers = own_web.workers()
    os.kill(own_web.process.pid or 0, signal.SIGKILL)
    eventually(lambda: not any(map(runs, workers)), seconds=60, what="the others to end")


def test_debug_is_refused_where_others_can_reach_it(settings: Settings) -> None:
    settings.DEBUG = True
    refuse_debug("127.0.0.1")
    with pytest.raises(SystemExit, match="DJANGO_DEBUG: must be false"):
        refuse_debug("0.0.0.0")


def test_the_image_serves_likewise() -> None:
    dockerfile = (ROOT / "docker" / "django.Dockerfile").read_text()
    (module,) = re.findall(r"-m (\S+)", procfile_line())
    assert f'CMD ["python", "-m", "{module}", "--host=0.0.0.0"]' in dockerfile


def test_the_help_tells_its_options() -> None:
    command = [sys.executable, "-m", "todoproject.web", "--help"]
    assert "--port" in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
