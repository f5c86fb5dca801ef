"""Each request is one span, and its records carry the span's context. Off, they carry nothing."""

from collections.abc import Callable

import httpx
import pytest

from devstack import Kafka
from tests.support.collector import running_collector
from tests.support.edge import BATCH, TODO, EdgeProcess, create_topic, read_topic

StartEdge = Callable[..., EdgeProcess]
CLIENT = "00-" + "a1b2c3d4" * 4 + "-" + "e5f60718" * 2 + "-01"


def test_records_carry_the_context_of_their_request_s_span(kafka: Kafka, start_edge: StartEdge) -> None:
    topic = create_topic(kafka.bootstrap_servers, partitions=1)
    with running_collector() as collector:
        edge = start_edge(kafka.bootstrap_servers, topic, EDGE_TRACING="true", **collector.environ)
        batch = httpx.post(f"{edge.url}/new/batch/", json=BATCH, headers={"traceparent": CLIENT})
        refused = httpx.post(f"{edge.url}/new/", json={}, headers={"traceparent": CLIENT})
        edge.stop()
    assert (207, 422) == (batch.status_code, refused.status_code)

    spans = {span.name: span for span in collector.spans}
    found = {
        name: (span.parent_id, span.attributes["http.response.status_code"], span.attributes["todo.request_id"])
        for name, span in spans.items()
    }
    parent = CLIENT.split("-")[2]
    assert {
        "POST /new/batch/": (parent, 207, batch.headers["x-request-id"]),
        "POST /new/": (parent, 422, refused.headers["x-request-id"]),
    } == found
    of_batch = spans["POST /new/batch/"]
    expected = [
        ("request-id", batch.headers["x-request-id"].encode()),
        ("traceparent", f"00-{of_batch.trace_id}-{of_batch.id}-01".encode()),
    ]
    records = read_topic(kafka.bootstrap_servers, topic, partitions=1)
    assert [expected] * (len(BATCH) - 1) == [record.headers for record in records]


@pytest.mark.parametrize(
    "sent", ["", "x", CLIENT[:-1], f"ff{CLIENT[2:]}", "00-" + "0" * 32 + CLIENT[35:], CLIENT + "-" + "x" * 5_000]
)
def test_a_senseless_header_begins_a_new_trace(kafka: Kafka, start_edge: StartEdge, sent: str) -> None:
    topic = create_topic(kafka.bootstrap_servers, partitions=1)
    with running_collector() as collector:
        edge = start_edge(kafka.bootstrap_servers, topic, EDGE_TRACING="true", **collector.environ)
        assert 202 == httpx.post(f"{edge.url}/new/", json=TODO, headers={"traceparent": sent}).status_code
        edge.stop()

    (span,) = collector.spans
    assert "" == span.parent_id
    (record,) = read_topic(kafka.bootstrap_servers, topic, partitions=1)
    ((name, value),) = record.headers
    assert ("traceparent", f"00-{span.trace_id}-{span.id}-") == (name, value.decode()[:-2])


def test_an_edge_without_its_collector_answers_and_ends_in_time(kafka: Kafka, start_edge: StartEdge) -> None:
    nowhere = "http://127.0.0.1:9"
    edge = start_edge(
        kafka.bootstrap_servers,
        create_topic(kafka.bootstrap_servers),
        EDGE_TRACING="true",
        OTEL_EXPORTER_OTLP_ENDPOINT=nowhere,
    )
    assert 202 == httpx.post(f"{edge.url}/new/", json=TODO).status_code
    edge.stop()  # raises where it takes 30 s
    assert "Traceback" not in edge.log


def test_no_header_is_passed_on_while_it_is_off(kafka: Kafka, start_edge: StartEdge) -> None:
    topic = create_topic(kafka.bootstrap_servers, partitions=1)
    edge = start_edge(kafka.bootstrap_servers, topic)
    assert 202 == httpx.post(f"{edge.url}/new/", json=TODO, headers={"traceparent": CLIENT}).status_code

    (record,) = read_topic(kafka.bootstrap_servers, topic, partitions=1)
    assert [] == record.headers
