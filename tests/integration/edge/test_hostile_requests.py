"""Invented requests to a real edge before real Kafka: from its own OpenAPI document, and of any bytes at all."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import negative_data_rejection

from devstack import Kafka
from edge_api.contract import InvalidPayload, TodoCreated, UnreadablePayload, parse_json
from edge_api.main import create_app
from edge_api.schemas import NewTodo
from tests.integration.edge.support import EdgeProcess, create_topic, read_topic
from tests.support.hostile import FIELDS, payloads

PARTITIONS = 3
TODO_FIELDS = {name: FIELDS[name] for name in ("title", "description")}


@schemathesis.serializer("application/x-ndjson")
def as_lines(_ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    """What stands in the document is an array, or an example as it is sent."""
    if isinstance(value, str):
        return value.encode()
    return "\n".join(json.dumps(item) for item in (value if isinstance(value, list) else [value])).encode()


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
    # A batch may hold what its schema forbids: such a todo is rejected alone.
    excluded = [negative_data_rejection] if case.path == "/new/batch/" else None
    case.call_and_validate(base_url=edge.url, excluded_checks=excluded)


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

    with httpx.Client(base_url=edge.url, headers={"Content-Type": "application/json"}, timeout=5) as client:

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

    with httpx.Client(base_url=edge.url, headers={"Content-Type": "application/x-ndjson"}, timeout=5) as client:

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


def assert_stored(acknowledged: dict[str, bytes], topic: str, kafka: Kafka) -> None:
    stored = {record.key.decode(): record.value for record in read_topic(kafka.bootstrap_servers, topic, PARTITIONS)}
    for todo_id, body in acknowledged.items():
        sent, event = parse_json(NewTodo, body), parse_json(TodoCreated, stored[todo_id])
        assert (sent.title, sent.description) == (event.title, event.description)
