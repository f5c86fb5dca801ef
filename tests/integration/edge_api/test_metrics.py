"""What the edge counts when Kafka acknowledges, and the id that a request leaves in its record."""

from collections.abc import Callable

import httpx

from devstack import Kafka
from tests.support.edge import BATCH, TODO, EdgeProcess, create_topic, read_topic
from tests.support.metrics import samples

StartEdge = Callable[..., EdgeProcess]


def test_what_kafka_acknowledges_is_counted(kafka: Kafka, start_edge: StartEdge) -> None:
    edge = start_edge(kafka.bootstrap_servers, create_topic(kafka.bootstrap_servers))
    assert 202 == httpx.post(f"{edge.url}/new/", json=TODO).status_code
    assert 207 == httpx.post(f"{edge.url}/new/batch/", json=BATCH).status_code

    found = samples(httpx.get(f"{edge.url}/metrics").text)

    good = len(BATCH) - 1
    assert (1, 1) == (
        found["todo_edge_requests_total{route=/new/,status=202}"],
        found["todo_edge_requests_total{route=/new/batch/,status=207}"],
    )
    assert (1 + good, 1, 0) == tuple(
        found[f"todo_edge_todos_total{{outcome={outcome}}}"] for outcome in ("accepted", "rejected", "unconfirmed")
    )
    assert 1 + good == found["todo_edge_ack_seconds_count{}"]
    assert 0 < found["todo_edge_ack_seconds_sum{}"]
    assert (1, 0, 0) == tuple(
        found[f"todo_edge_{name}{{}}"] for name in ("ready", "in_flight_todos", "in_flight_bytes")
    )


def test_the_id_of_a_request_is_in_its_record(kafka: Kafka, start_edge: StartEdge) -> None:
    topic = create_topic(kafka.bootstrap_servers, partitions=1)
    edge = start_edge(kafka.bootstrap_servers, topic)
    own = {"X-Request-ID": "client-7"}
    plain = httpx.post(f"{edge.url}/new/", json=TODO)
    assert plain.json()["id"] == plain.headers["x-request-id"]
    assert "client-7" == httpx.post(f"{edge.url}/new/", json=TODO, headers=own).headers["x-request-id"]
    assert "client-7" == httpx.post(f"{edge.url}/new/batch/", json=[TODO], headers=own).headers["x-request-id"]
    batch = httpx.post(f"{edge.url}/new/batch/", json=[TODO, TODO]).headers["x-request-id"]

    headers = [record.headers for record in read_topic(kafka.bootstrap_servers, topic, partitions=1)]

    assert [[], *[[("request-id", b"client-7")]] * 2, *[[("request-id", batch.encode())]] * 2] == headers
