"""Invented requests to a real edge before real Kafka: from its own OpenAPI document, and of any bytes at all."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import Case

from devstack import Kafka
from edge_api.contract import InvalidPayload, TodoCreated, UnreadablePayload, parse_json
from edge_api.main import create_app
from edge_api.schemas import NewTodo
from tests.integration.edge.support import EdgeProcess, create_topic, read_topic
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
    case.call_and_validate(base_url=edge.url)


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
    stored = {record.key.decode(): record.value for record in read_topic(kafka.bootstrap_servers, topic, PARTITIONS)}
    for todo_id, body in acknowledged.items():
        sent, event = parse_json(NewTodo, body), parse_json(TodoCreated, stored[todo_id])
        assert (sent.title, sent.description) == (event.title, event.description)
