"""Invented requests to a real edge before real Kafka: from its own OpenAPI document, and of any bytes at all."""

import contextlib
import re
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import example, given, settings
from hypothesis import strategies as st
from schemathesis import Case

from devstack import Kafka
from edge_api.contract import InvalidPayload, TodoCreated, UnreadablePayload, parse_json
from edge_api.http.schemas import NewTodo
from edge_api.main import create_app
from tests.support.documents import unfit_checks
from tests.support.edge import EdgeProcess, create_topic, read_topic
from tests.support.hostile import FIELDS, payloads

PARTITIONS = 3
TODO_FIELDS = {name: FIELDS[name] for name in ("title", "description")}
document = schemathesis.openapi.from_dict(create_app().openapi())


@pytest.fixture(scope="module")
def topic(kafka: Kafka) -> str:
    return create_topic(kafka.bootstrap_servers, PARTITIONS)


@pytest.fixture(scope="module")
def edge(kafka: Kafka, topic: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    edge = EdgeProcess(tmp_path_factory.mktemp("edge"), kafka.bootstrap_servers, topic)
    try:
        edge.start()
        edge.wait_ready()
        yield edge
    finally:
        edge.stop()


@document.parametrize()
def test_the_edge_keeps_what_its_document_says(case: Case[Any], edge: EdgeProcess) -> None:
    answer = case.call(base_url=edge.url)
    case.validate_response(answer, excluded_checks=unfit_checks(case, answer.status_code))


def expected_status(body: bytes) -> int:
    try:
        parse_json(NewTodo, body)
    except UnreadablePayload:
        return 400
    except InvalidPayload:
        return 422
    return 202


def test_any_bytes_get_an_answer_and_every_202_stands_in_kafka(edge: EdgeProcess, topic: str, kafka: Kafka) -> None:
    answers: Counter[int] = Counter()
    acknowledged: dict[str, bytes] = {}

    with httpx.Client(base_url=edge.url, headers={"Content-Type": "application/json"}, timeout=60) as client:

        @settings(settings.default, max_examples=300)
        @given(payloads(TODO_FIELDS) | st.binary())
        def post(body: bytes) -> None:
            response = client.post("/new/", content=body)
            answers[response.status_code] += 1
            assert response.status_code == expected_status(body), response.text
            if response.status_code == 202:
                acknowledged[response.json()["id"]] = body

        post()

    assert {202, 400, 422} == answers.keys()
    assert_stored(acknowledged, topic, kafka)


def test_any_lines_are_judged_one_by_one_and_every_202_stands_in_kafka(
    edge: EdgeProcess, topic: str, kafka: Kafka
) -> None:
    statuses: Counter[int] = Counter()
    acknowledged: dict[str, bytes] = {}
    one_line = payloads(TODO_FIELDS).filter(lambda line: line.strip() and b"\n" not in line)

    with httpx.Client(base_url=edge.url, headers={"Content-Type": "application/x-ndjson"}, timeout=60) as client:

        @settings(settings.default, max_examples=100)
        @given(st.lists(one_line, min_size=1, max_size=20))
        def post(lines: list[bytes]) -> None:
            response = client.post("/new/batch/", content=b"\n".join(lines))
            statuses[response.status_code] += 1
            results = response.json()["results"]
            assert [expected_status(line) for line in lines] == [result["status"] for result in results]
            acknowledged.update(
                {result["id"]: line for line, result in zip(lines, results, strict=True) if "id" in result}
            )

        post()

    assert {202, 207, 422} == statuses.keys()
    assert_stored(acknowledged, topic, kafka)


NAMES = st.sampled_from(
    (
        b"Content-Type Content-Length Transfer-Encoding Content-Encoding Expect Connection Upgrade X-Request-ID "
        b"traceparent Host Authorization Idempotency-Key X-Forwarded-For Cookie"
    ).split()
)
VALUES = st.sampled_from(
    b"application/json|application/x-ndjson; charset=\xff|18|-1|1e3|99999999999999999999|chunked|gzip, chunked|"
    b"100-continue|close|Upgrade, HTTP2-Settings|h2c|websocket|Bearer ||\xff".split(b"|")
)
HEADER = st.tuples(NAMES | st.binary(max_size=20), VALUES | st.binary(max_size=100))
TARGETS = st.sampled_from([b"/new/", b"/new/batch/", b"/new", b"/healthz", b"*", b"http://[", b"/%ff", b"edge:443"])


def ask(edge: EdgeProcess, request: bytes) -> list[int]:
    """The statuses that came until the connection was closed. One that waits for more is told that this was all."""
    answers = b""
    with socket.create_connection(("127.0.0.1", httpx.URL(edge.url).port or 0), timeout=60) as client:
        client.sendall(request)
        with contextlib.suppress(ConnectionResetError):
            answers += client.recv(65_536)  # of the request that is whole
            client.settimeout(0.1)
            while True:
                try:
                    piece = client.recv(65_536)
                except TimeoutError:
                    client.settimeout(60)
                    client.shutdown(socket.SHUT_WR)
                    continue
                if not piece:
                    break
                answers += piece
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def test_any_headers_get_an_answer_that_is_no_failure(edge: EdgeProcess) -> None:
    """Over the bare socket; behind a request that is whole, which has to get its answer too."""
    seen: Counter[int] = Counter()

    @settings(settings.default, max_examples=150)
    @example(b"GET", b"/nowhere", [], b"")
    @example(b"POST", b"/new/", [(b"Content-Type", b"text/plain")], b"")
    @given(
        method=st.sampled_from([b"POST", b"POST", b"GET", b"HEAD", b"CONNECT", b"PRI"]) | st.binary(max_size=5),
        target=TARGETS | st.binary(max_size=30),
        headers=st.lists(HEADER, max_size=8),
        body=st.just(b'{"title": "hello"}') | st.binary(max_size=50),
    )
    def post(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        lines = [
            method + b" " + target + b" HTTP/1.1",
            b"Host: edge",
            *[name + b": " + value for name, value in headers],
        ]
        first, *others = ask(
            edge, b"GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body
        )
        assert 200 == first
        assert all(status < 500 for status in others)
        seen.update(others)

    post()
    assert {404, 415} <= seen.keys()


def assert_stored(acknowledged: dict[str, bytes], topic: str, kafka: Kafka) -> None:
    stored = {record.key.decode(): record.value for record in read_topic(kafka.bootstrap_servers, topic, PARTITIONS)}
    for todo_id, body in acknowledged.items():
        sent, event = parse_json(NewTodo, body), parse_json(TodoCreated, stored[todo_id])
        assert (sent.title, sent.description) == (event.title, event.description)
