"""The same Idempotency-Key gives the same todo; its records tell whether the content is the same too."""

from collections.abc import Callable

import httpx

from devstack import Kafka
from tests.support.edge import BATCH, TODO, EdgeProcess, create_topic, read_topic

StartEdge = Callable[..., EdgeProcess]
KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


def test_a_replay_is_answered_like_the_first_and_another_content_can_be_told(
    kafka: Kafka, start_edge: StartEdge
) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    edge = start_edge(kafka.bootstrap_servers, topic)
    other = TODO | {"title": "Something else"}
    answers = [httpx.post(f"{edge.url}/new/", json=todo, headers=KEY).json() for todo in (TODO, TODO, other)]
    plain = httpx.post(f"{edge.url}/new/", json=TODO).json()

    assert 1 == len({(answer["id"], answer["url"]) for answer in answers})
    assert 3 == len({answer["receipt"] for answer in answers})
    assert plain["id"] != answers[0]["id"]
    headers = {(at.partition, at.offset): dict(at.headers) for at in read_topic(kafka.bootstrap_servers, topic)}
    first, replay, conflict, without = (headers[answer["partition"], answer["offset"]] for answer in [*answers, plain])
    assert first == replay
    assert {"fingerprint"} == set(first) == set(conflict)
    assert first != conflict
    assert {} == without


def test_the_todos_of_a_batch_have_their_ids_by_their_places(kafka: Kafka, start_edge: StartEdge) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    edge = start_edge(kafka.bootstrap_servers, topic)
    first, replay = (httpx.post(f"{edge.url}/new/batch/", json=BATCH, headers=KEY).json() for _ in range(2))
    single = httpx.post(f"{edge.url}/new/", json=TODO, headers=KEY).json()["id"]

    ids = [result.get("id") for result in first["results"]]
    assert ids == [result.get("id") for result in replay["results"]]
    assert len(BATCH) == len(set(ids))  # None, where one was rejected
    assert single not in ids
    records = read_topic(kafka.bootstrap_servers, topic)
    assert 2 * first["accepted"] + 1 == len(records)
    assert 1 == len({dict(record.headers)["fingerprint"] for record in records})
