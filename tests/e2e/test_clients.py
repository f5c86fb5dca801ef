"""Ordinary HTTP clients, each as it is by default: the same two POSTs to the edge and the same GET from the API."""

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request as UrllibRequest
from urllib.request import urlopen

import httpx
import pytest
import urllib3

from tests.support.stack import MakeStack, Services, Stack
from tests.support.waiting import Stopwatch

CLIENTS = Path(__file__).with_name("clients")
JSON = {"Content-Type": "application/json"}
TODO = {"title": "Do homework", "description": "Finish pending homeworks"}
SECONDS = 120.0  # by which a client has to end


class Request(NamedTuple):
    method: str
    url: str
    body: str = ""


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, shared_services: Services, template: str) -> Stack:
    stack = make_stack(shared_services, template=template)
    stack.web()
    stack.edge()
    return stack


@pytest.fixture
def wanted(stack: Stack) -> list[Request]:
    return [
        Request("POST", f"{stack.edge_url}/new/", json.dumps(TODO)),
        Request("POST", f"{stack.edge_url}/new/batch/", json.dumps([TODO] * 20)),
        Request("GET", f"{stack.web_url}/api/todos/"),
    ]


def program(name: str) -> str:
    """Return the path of a program that this test drives, or skip the test."""
    return shutil.which(name) or pytest.skip(f"{name} is not on this machine")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert not done.returncode, f"{done.stdout}{done.stderr}"
    return done.stdout


# --- Clients: each returns the statuses of its requests


def java(form: str) -> Callable[[Sequence[Request]], list[int]]:
    def send(wanted: Sequence[Request]) -> list[int]:
        modules = run(program("java"), "--list-modules")
        missing = [name for name in ("java.net.http", "jdk.compiler") if name not in modules]
        if missing:
            pytest.skip(f"this Java has no {' and no '.join(missing)}")
        arguments = [part for request in wanted for part in request]
        return [int(line) for line in run("java", str(CLIENTS / "Client.java"), form, *arguments).split()]

    return send


def node(form: str) -> Callable[[Sequence[Request]], list[int]]:
    def send(wanted: Sequence[Request]) -> list[int]:
        arguments = [part for request in wanted for part in request]
        return [int(line) for line in run(program("node"), str(CLIENTS / "client.mjs"), form, *arguments).split()]

    return send


def curl(*options: str, of_body: Sequence[str] = ()) -> Callable[[Sequence[Request]], list[int]]:
    def send(wanted: Sequence[Request]) -> list[int]:
        statuses = []
        for request in wanted:
            body = ["--data", request.body, "--header", "Content-Type: application/json", *of_body]
            shown = ["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}"]
            statuses.append(int(run(program("curl"), *shown, *options, *(body if request.body else ()), request.url)))
        return statuses

    return send


def half_closing(wanted: Sequence[Request]) -> list[int]:
    """As `nc -N` does: say that nothing more comes once the request is sent, then read the response."""
    statuses = []
    for request in wanted:
        url = httpx.URL(request.url)
        head = f"{request.method} {url.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection((url.host, url.port), timeout=SECONDS) as client:
            client.sendall(f"{head}Content-Length: {len(request.body)}\r\n\r\n{request.body}".encode())
            client.shutdown(socket.SHUT_WR)
            answer = client.makefile("rb").readline()
        statuses.append(int(answer.split()[1]) if answer else 0)
    return statuses


def python_httpx(wanted: Sequence[Request]) -> list[int]:
    with httpx.Client(timeout=SECONDS) as client:
        return [client.request(method, url, content=body, headers=JSON).status_code for method, url, body in wanted]


def python_urllib3(wanted: Sequence[Request]) -> list[int]:
    """What requests is made of."""
    with urllib3.PoolManager(timeout=SECONDS, retries=False) as client:
        return [client.request(method, url, body=body, headers=JSON).status for method, url, body in wanted]


def python_urllib(wanted: Sequence[Request]) -> list[int]:
    statuses = []
    for method, url, body in wanted:
        with urlopen(UrllibRequest(url, body.encode() or None, JSON, method=method), timeout=SECONDS) as response:
            statuses.append(response.status)
    return statuses


@pytest.mark.parametrize(
    "send",
    [
        pytest.param(java("fixed"), id="java"),
        pytest.param(java("streaming"), id="java-streaming"),
        pytest.param(curl(), id="curl"),
        pytest.param(curl("--http2"), id="curl-http2"),
        pytest.param(curl("--header", "Expect: 100-continue"), id="curl-expect"),
        pytest.param(curl(of_body=["--header", "Transfer-Encoding: chunked"]), id="curl-chunked"),
        pytest.param(node("fixed"), id="node"),
        pytest.param(node("streaming"), id="node-streaming"),
        half_closing,
        python_httpx,
        python_urllib,
        python_urllib3,
    ],
)
def test_an_ordinary_client_is_served(send: Callable[[Sequence[Request]], list[int]], wanted: list[Request]) -> None:
    assert [202, 202, 200] == send(wanted)


@pytest.mark.parametrize("place", [0, 2], ids=["edge", "web"])
def test_http2_without_an_upgrade_is_refused_at_once(place: int, wanted: list[Request]) -> None:
    """A client that knows that the server speaks HTTP/2 is wrong, and must learn so."""
    url = httpx.URL(wanted[place].url)
    with socket.create_connection((url.host, url.port), timeout=SECONDS) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        answer = client.makefile("rb").read()
    assert answer.split()[1] in (b"400", b"505"), answer
    watch = Stopwatch()
    command = [program("curl"), "--silent", "--http2-prior-knowledge", "--max-time", str(SECONDS), str(url)]
    assert subprocess.run(command, capture_output=True, check=False, timeout=2 * SECONDS).returncode
    assert watch.seconds < SECONDS
