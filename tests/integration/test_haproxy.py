"""HAProxy as compose and Kubernetes configure it: what it passes on and refuses, and who it says clients are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docker.check_proxy import MAX_BODY
from edge_api.contract import MAX_BATCH_TODOS
from tests.support.edge import TODO, EdgeProcess
from tests.support.haproxy import OUTER_PROXY, HAProxy, Recorder, has_trailer_options, needs_haproxy, request
from tests.support.manage import NOWHERE
from tests.support.stack import MakeStack, Services, Stack
from tests.support.waiting import eventually

pytestmark = needs_haproxy
SIDES = ("edge", "web")
BODY = json.dumps(TODO).encode()
FORGED = {"X-Forwarded-For": "198.51.100.7"}


# --- What reaches a server


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with Recorder().running() as recorder:
        yield recorder


@pytest.fixture(scope="module")
def before_recorder(recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HAProxy]:
    with HAProxy(tmp_path_factory.mktemp("recorder"), recorder.address, recorder.address).running() as haproxy:
        yield haproxy


@pytest.fixture
def passed_on(recorder: Recorder) -> list[bytes]:
    """The requests that reach the server during this test."""
    recorder.requests.clear()
    return recorder.requests


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "target",
    [
        "/metrics",
        "/metrics/",
        "//metrics",
        "/%6detrics",
        "/%256detrics",
        "/./metrics",
        "/x/../metrics",
        "/admin/../metrics",
        "/docs/assets/../../metrics",
        "/static/%2e%2e/metrics",
        "/api/..;/metrics",
        "/api/..\\metrics",
        "/metrics?/new/",
        "http://localhost/metrics",
        "/readyz",
        "/readyz/pipeline",
        "/readyz//pipeline",
    ],
)
def test_paths_for_operators_reach_no_server(
    before_recorder: HAProxy, passed_on: list[bytes], side: str, target: str
) -> None:
    answer = before_recorder.send(side, "GET", target)

    assert (404, True) == (answer.status, answer.is_problem)
    assert [] == passed_on


@pytest.mark.parametrize("side", SIDES)
def test_an_absolute_address_becomes_a_path(before_recorder: HAProxy, passed_on: list[bytes], side: str) -> None:
    assert 200 == before_recorder.send(side, "GET", "http://other.example/healthz?a=b").status
    assert [b"GET /healthz?a=b HTTP/1.1\r\n"] == [seen[: seen.index(b"\n") + 1] for seen in passed_on]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("source", "said", "believed"),
    [
        ("127.0.0.1", {}, "127.0.0.1"),
        ("127.0.0.1", FORGED, "127.0.0.1"),
        ("127.0.0.1", {"X_Forwarded_For": "198.51.100.7", "X.Forwarded.For": "198.51.100.7"}, "127.0.0.1"),
        (OUTER_PROXY, {}, OUTER_PROXY),
        (OUTER_PROXY, FORGED, "198.51.100.7"),
        (OUTER_PROXY, {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}, "198.51.100.7"),
        (OUTER_PROXY, {"X-Forwarded-For": "198.51.100.7, junk"}, OUTER_PROXY),
        (OUTER_PROXY, {"X-Forwarded-For": "2001:db8::7"}, "2001:db8::7"),
    ],
)
def test_the_client_is_one_address_that_it_cannot_choose(
    before_recorder: HAProxy, passed_on: list[bytes], side: str, source: str, said: dict[str, str], believed: str
) -> None:
    assert 200 == before_recorder.send(side, "GET", "/healthz", headers=said, source=source).status

    (seen,) = passed_on
    assert [believed.encode()] == re.findall(rb"(?i)x.forwarded.for: (.+)\r\n", seen)


@pytest.mark.parametrize(("source", "believed"), [("127.0.0.1", b"http"), (OUTER_PROXY, b"https")])
def test_only_a_proxy_in_front_says_that_a_request_came_by_tls(
    before_recorder: HAProxy, passed_on: list[bytes], source: str, believed: bytes
) -> None:
    headers = {"X-Forwarded-Proto": "https"}
    assert 200 == before_recorder.send("web", "GET", "/healthz", headers=headers, source=source).status

    (seen,) = passed_on
    assert [believed] == re.findall(rb"x-forwarded-proto: (.+)\r\n", seen)


@pytest.mark.parametrize(("method", "target", "body"), [("GET", "/healthz", None), ("POST", "/new/", BODY)])
def test_an_offered_change_of_protocol_is_not_passed_on(
    before_recorder: HAProxy, passed_on: list[bytes], method: str, target: str, body: bytes | None
) -> None:
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"}
    assert 200 == before_recorder.send("edge", method, target, body, headers=offer).status

    (seen,) = passed_on
    assert seen.endswith(b"\r\n\r\n" + (body or b""))
    assert not re.search(rb"\r\n(upgrade|http2-settings):", seen)


@pytest.mark.skipif(not has_trailer_options(), reason="this HAProxy cannot drop trailers; 3.2, as in compose, can")
def test_no_trailer_is_passed_on(before_recorder: HAProxy, passed_on: list[bytes]) -> None:
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    with before_recorder.connect("edge") as client:
        head = b"POST /new/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head + chunks + b"X-Forwarded-For: 198.51.100.7\r\nAuthorization: Bearer x\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")

    (seen,) = passed_on
    assert seen.endswith(chunks + b"\r\n")


@pytest.mark.slow
def test_slow_clients_wait_here_and_are_given_up(before_recorder: HAProxy, passed_on: list[bytes]) -> None:
    head = b"POST /new/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n"
    with before_recorder.connect("edge") as slow_head, before_recorder.connect("edge") as slow_body:
        slow_head.sendall(head)
        slow_body.sendall(head + b"\r\n{")
        assert 200 == before_recorder.send("edge", "GET", "/healthz").status
        for client in (slow_head, slow_body):
            assert client.recv(4096).startswith(b"HTTP/1.1 408 ")

    assert [b"GET"] == [seen[:3] for seen in passed_on]


@pytest.mark.parametrize(("side", "target"), [("edge", "/new/batch/"), ("web", "/admin/")])
def test_a_body_above_the_largest_is_refused_unread(
    before_recorder: HAProxy, passed_on: list[bytes], side: str, target: str
) -> None:
    largest = MAX_BODY[side]
    for length, status in ((largest + 1, b"413"), (largest, b"200")):
        with before_recorder.connect(side) as client:
            client.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\n" % target.encode())
            client.sendall(b"Content-Length: %d\r\n\r\n" % length)
            if status == b"200":
                client.sendall(b"x" * length)
            answer = client.recv(4096)
        assert status == answer.split()[1]
        assert (status == b"413") is (b"content-type: application/problem+json\r\n" in answer)
    assert [largest] == [len(seen.partition(b"\r\n\r\n")[2]) for seen in passed_on]


# --- Servers that are down


def test_without_a_server_the_answer_is_503_with_a_problem(tmp_path: Path) -> None:
    with HAProxy(tmp_path, NOWHERE, NOWHERE).running() as haproxy:
        for side in SIDES:
            answer = haproxy.send(side, "GET", "/healthz")
            assert (503, True, "1") == (answer.status, answer.is_problem, answer.headers["Retry-After"]), side


def test_without_a_ready_edge_the_edge_itself_says_what_is_wrong(tmp_path: Path) -> None:
    edge = EdgeProcess(tmp_path, NOWHERE, "nothing")
    edge.start()
    try:
        with HAProxy(tmp_path, edge.url.removeprefix("http://"), NOWHERE).running() as haproxy:

            def detail() -> str:
                answer = haproxy.send("edge", "POST", "/new/", BODY)
                assert 503 == answer.status
                return str(json.loads(answer.body)["detail"])

            assert "Kafka" in eventually(detail, seconds=30, what="a detail of the edge")
    finally:
        edge.stop()


# --- Before the real services


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, shared_services: Services, template: str) -> Stack:
    stack = make_stack(shared_services, template=template)
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("DJANGO_BEHIND_PROXY", "true")
        environ.setenv("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1,web")  # web as HAProxy's checks do
        stack.web()
        # A batch of the largest size is too much for the next request of its address.
        limits = {"EDGE_RATE_LIMIT_PER_ADDRESS": "10", "EDGE_TRUSTED_PROXIES": "127.0.0.1"}
        stack.edge(env=limits)
    return stack


@pytest.fixture(scope="module")
def haproxy(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HAProxy]:
    servers = (f"127.0.0.1:{port}" for port in (stack.edge_port, stack.web_port))
    with HAProxy(tmp_path_factory.mktemp("haproxy"), *servers).running() as haproxy:
        yield haproxy


@pytest.mark.parametrize(
    ("side", "target", "status"),
    [
        ("edge", "/docs", 200),
        ("edge", "/docs/assets/swagger/swagger-ui.css", 200),
        ("edge", "/healthz", 200),
        ("edge", "/openapi.json", 200),
        ("web", "/", 302),
        ("web", "/.well-known/jwks.json", 200),
        ("web", "/admin", 301),
        ("web", "/admin/login/", 200),
        ("web", "/api/docs/", 200),
        ("web", "/api/todos/?search=%C3%BC", 200),
        ("web", "/favicon.ico", 204),
        ("web", "/healthz", 200),
        ("web", "/static/admin/css/base.css", 200),
    ],
)
def test_clients_reach_what_is_theirs(haproxy: HAProxy, side: str, target: str, status: int) -> None:
    assert status == haproxy.send(side, "GET", target).status


def test_operators_inside_still_read_what_clients_do_not(haproxy: HAProxy, stack: Stack) -> None:
    for side, port in (("edge", stack.edge_port), ("web", stack.web_port)):
        for target in ("/metrics", "/readyz"):
            assert (200, 404) == (request(port, "GET", target).status, haproxy.send(side, "GET", target).status)


def test_todos_are_taken_and_a_forged_address_passes_no_limit(haproxy: HAProxy) -> None:
    batch = json.dumps([TODO] * MAX_BATCH_TODOS).encode()

    def post(target: str, body: bytes, address: str, source: str) -> int:
        return haproxy.send("edge", "POST", target, body, headers={"X-Forwarded-For": address}, source=source).status

    assert [202, 202] == [post(target, BODY, "198.51.100.1", "127.0.0.1") for target in ("/new/", "/new")]
    assert 202 == post("/new/batch/", batch, "198.51.100.2", "127.0.0.1")
    assert {429} == {post("/new/", BODY, f"198.51.100.{number}", "127.0.0.1") for number in range(3, 23)}
    # Those of a proxy in front have limits of their own.
    assert 202 == post("/new/batch/", batch, "198.51.100.2", OUTER_PROXY)
    assert 429 == post("/new/", BODY, "198.51.100.3, 198.51.100.2", OUTER_PROXY)
    assert 202 == post("/new/", BODY, "198.51.100.3", OUTER_PROXY)
