"""A 202 means that the record stands in Kafka, exactly where the answer says."""

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from devstack import Kafka
from edge_api.contract import TodoCreated, parse_json
from tests.support.edge import TODO, EdgeProcess, Load, create_topic, either_kafka_api, read_topic
from tests.support.renamed import renamed
from tests.support.waiting import eventually

StartEdge = Callable[..., EdgeProcess]


@either_kafka_api
def test_the_record_is_where_the_answer_says(kafka: Kafka, start_edge: StartEdge, edge_environ: dict[str, str]) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    edge = start_edge(kafka.bootstrap_servers, topic, EDGE_PUBLIC_API_URL="https://todo.example/")
    response = httpx.post(f"{edge.url}/new/", json=TODO)
    assert response.status_code == 202, response.text
    answer = response.json()
    (record,) = read_topic(kafka.bootstrap_servers, topic)
    todo = parse_json(TodoCreated, record.value)

    assert (record.topic, record.partition, record.offset) == (topic, answer["partition"], answer["offset"])
    assert answer["topic"] == topic
    assert record.key == answer["id"].encode()
    assert (str(todo.id), todo.title, todo.description) == (answer["id"], TODO["title"], TODO["description"])
    assert uuid.UUID(answer["id"]).version == 7
    assert todo.created_at == datetime.fromisoformat(answer["created_at"])
    assert abs(datetime.now(UTC) - datetime.fromisoformat(answer["created_at"])) < timedelta(minutes=1)
    assert f"https://todo.example/api/todos/{answer['id']}/" == answer["url"]
    receipt = f"https://todo.example/api/receipts/{answer['id']}/{record.partition}-{record.offset}/"
    assert receipt == answer["receipt"] == response.headers["location"]
    assert set(json.loads(record.value)) == {"type", "version", "id", "title", "description", "created_at"}
    assert edge.log.count("Sending by KafkaProducer.send(): slower, still exact") == ("RENAMED" in edge_environ)


def test_what_was_trimmed_and_what_was_not(kafka: Kafka, start_edge: StartEdge) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    edge = start_edge(kafka.bootstrap_servers, topic)
    todo = {"title": "  \U0001f4da \u202e\u0001 \u3000", "description": "  as\n\tis  "}
    assert httpx.post(f"{edge.url}/new/", json=todo).status_code == 202
    (record,) = read_topic(kafka.bootstrap_servers, topic)
    stored = parse_json(TodoCreated, record.value)
    assert (stored.title, stored.description) == ("\U0001f4da \u202e\u0001", "  as\n\tis  ")


@either_kafka_api
@pytest.mark.parametrize("form", ["array", "lines"])
def test_every_todo_of_a_batch_is_where_its_result_says(kafka: Kafka, start_edge: StartEdge, form: str) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    edge = start_edge(kafka.bootstrap_servers, topic, EDGE_PUBLIC_API_URL="https://todo.example/")
    items = [{"title": f"Do homework {number}", "description": "d" * 900} for number in range(1_000)]
    if form == "array":
        response = httpx.post(f"{edge.url}/new/batch/", json=items)
    else:
        content = "\n".join(json.dumps(item) for item in items)
        headers = {"Content-Type": "application/x-ndjson"}
        response = httpx.post(f"{edge.url}/new/batch/", content=content, headers=headers)
    assert response.status_code == 202, response.text
    answer = response.json()
    assert (1_000, 0, 0, topic) == tuple(answer[name] for name in ("accepted", "rejected", "unconfirmed", "topic"))
    stored = {(record.partition, record.offset): record for record in read_topic(kafka.bootstrap_servers, topic)}
    assert len(items) == len(answer["results"]) == len(stored)
    assert len({partition for partition, _ in stored}) > 1  # too large for one record batch
    for item, result in zip(items, answer["results"], strict=True):
        record = stored[result["partition"], result["offset"]]
        event = parse_json(TodoCreated, record.value)
        assert result["id"] == str(event.id) == record.key.decode()
        assert item == {"title": event.title, "description": event.description}
        assert event.created_at == datetime.fromisoformat(result["created_at"])
        assert result["url"] == f"https://todo.example/api/todos/{event.id}/"
        place = f"{record.partition}-{record.offset}"
        assert result["receipt"] == f"https://todo.example/api/receipts/{event.id}/{place}/"
        assert result["status"] == 202


def test_a_bad_todo_takes_none_of_its_batch_along(kafka: Kafka, start_edge: StartEdge) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    edge = start_edge(kafka.bootstrap_servers, topic)
    response = httpx.post(f"{edge.url}/new/batch/", json=[{"title": "first"}, {"title": ""}, 5, {"title": "last"}])
    assert response.status_code == 207, response.text
    answer = response.json()
    assert (2, 2, 0) == (answer["accepted"], answer["rejected"], answer["unconfirmed"])
    first, empty, number, last = answer["results"]
    assert [202, 422, 422, 202] == [result["status"] for result in answer["results"]]
    assert ["title", "body"] == [empty["errors"][0]["field"], number["errors"][0]["field"]]
    stored = {
        record.key.decode(): parse_json(TodoCreated, record.value).title
        for record in read_topic(kafka.bootstrap_servers, topic)
    }
    assert {first["id"]: "first", last["id"]: "last"} == stored


def test_what_kafka_does_not_take_of_a_batch_is_told_and_the_rest_is_kept(kafka: Kafka, start_edge: StartEdge) -> None:
    """Of the two record batches that this makes, the topic finds the first one too large."""
    topic = create_topic(kafka.bootstrap_servers, max_message_bytes="200000")
    edge = start_edge(kafka.bootstrap_servers, topic)
    edge.wait_ready()
    items = [{"title": f"{number}", "description": "d" * 200} for number in range(1_000)]
    response = httpx.post(f"{edge.url}/new/batch/", json=items)
    assert response.status_code == 207, response.text
    answer = response.json()
    statuses = [result["status"] for result in answer["results"]]
    assert statuses == [503] * answer["unconfirmed"] + [202] * answer["accepted"]
    assert 0 < answer["accepted"] < 1_000
    assert {"Not stored: Kafka refused the record."} == {result.get("detail") for result in answer["results"]} - {None}
    stored = {record.key.decode(): json.loads(record.value) for record in read_topic(kafka.bootstrap_servers, topic)}
    accepted = zip(items[answer["unconfirmed"] :], answer["results"][answer["unconfirmed"] :], strict=True)
    assert {result["id"]: item["title"] for item, result in accepted} == {key: e["title"] for key, e in stored.items()}

    again = httpx.post(f"{edge.url}/new/batch/", json=items[: answer["unconfirmed"]])
    assert again.status_code == 202, again.text


@pytest.mark.parametrize("edge_environ", [renamed("kafka", "_tp_lock")], ids=["public API"], indirect=True)
def test_todos_that_kafka_python_batches_itself_are_split_until_the_topic_takes_them(
    kafka: Kafka, start_edge: StartEdge
) -> None:
    """Unlike the edge's own batches: a todo is refused only if it is too large alone."""
    topic = create_topic(kafka.bootstrap_servers, max_message_bytes="5000")
    edge = start_edge(kafka.bootstrap_servers, topic)
    edge.wait_ready()
    items = [{"title": f"{number}", "description": "d" * (200 if number else 10_000)} for number in range(300)]
    answer = httpx.post(f"{edge.url}/new/batch/", json=items).json()

    assert (299, 1) == (answer["accepted"], answer["unconfirmed"])
    assert "Not stored: Kafka refused the record." == answer["results"][0]["detail"]
    assert 299 == len(read_topic(kafka.bootstrap_servers, topic))


@either_kafka_api
def test_every_acknowledged_position_holds_its_todo(kafka: Kafka, start_edge: StartEdge) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    edge = start_edge(kafka.bootstrap_servers, topic)
    load = Load(edge.url)

    async def post() -> None:
        async with load.running():
            await load.until(lambda: len(load.answers) >= 500, 60, "500 answers")

    asyncio.run(post())
    assert set(load.counts()) == {202}
    stored = {
        (record.partition, record.offset): record.key.decode() for record in read_topic(kafka.bootstrap_servers, topic)
    }
    answered = {(answer.body["partition"], answer.body["offset"]): answer.body["id"] for answer in load.answers}
    assert answered == stored
    assert {partition for partition, _ in stored} == {0, 1, 2}


@either_kafka_api
def test_a_missing_topic_is_told_and_noticed_once_it_is_there(kafka: Kafka, start_edge: StartEdge) -> None:
    topic = f"test-{uuid.uuid4().hex[:8]}"
    edge = start_edge(kafka.bootstrap_servers, topic)
    eventually(lambda: topic in httpx.get(f"{edge.url}/readyz").text, seconds=30, what="the missing topic to be told")
    response = httpx.post(f"{edge.url}/new/", json=TODO)
    assert response.status_code == 503
    assert f"topic {topic} does not exist" in response.json()["detail"]
    create_topic(kafka.bootstrap_servers, name=topic)
    edge.wait_ready()
    assert httpx.post(f"{edge.url}/new/", json=TODO).status_code == 202


def test_a_large_upload_gets_its_answer_and_the_connection_lives_on(kafka: Kafka, start_edge: StartEdge) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    edge = start_edge(kafka.bootstrap_servers, topic)
    with httpx.Client(base_url=edge.url) as client:
        too_large = client.post("/new/", content=b" " * 5_000_000, headers={"Content-Type": "application/json"})
        assert too_large.status_code == 413
        assert client.post("/new/", json=TODO).status_code == 202
