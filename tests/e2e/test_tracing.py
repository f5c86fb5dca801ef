"""One trace from the client over the edge to the row, with real processes and a collector that keeps what they send."""

import secrets

import httpx
import pytest

from tests.support.collector import running_collector
from tests.support.stack import MakeStack, Services
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)
SERVER, CONSUMER = 2, 5  # kinds of spans, in the protocol's numbers


def test_a_client_s_trace_reaches_the_row(make_stack: MakeStack, shared_services: Services, template: str) -> None:
    stack = make_stack(shared_services, template=template)
    stack.schedule(every_seconds=1, time_budget_seconds=2, timeout_ms=500)
    trace_id, client_id = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace_id}-{client_id}-01", "X-Request-ID": "client-7"}
    with running_collector() as collector:
        edge = stack.edge(env=collector.environ | {"EDGE_TRACING": "true"})
        # Nothing is sent but at the end: the child of the worker has to do it when it is shut down.
        worker = stack.worker(
            concurrency=1, env=collector.environ | {"DJANGO_TRACING": "true", "OTEL_BSP_SCHEDULE_DELAY": "600000"}
        )
        stack.beat()
        answer = httpx.post(f"{stack.edge_url}/new/", json={"title": "traced"}, headers=headers).json()
        eventually(lambda: stack.count("todo") == 1, seconds=60, what="the todo")
        edge.stop()
        worker.stop()

    (served,), (stored,) = collector.named("POST /new/"), collector.named("store todo")
    ((row_id, request_id, task_id),) = stack.rows(
        "SELECT t.id::text, t.request_id, b.task_id FROM todos_todo t JOIN todos_batch b ON b.next_offset = %s"
        " AND b.partition = t.source_partition AND b.stored = 1",
        answer["offset"] + 1,
    )
    assert ("todo-edge", SERVER, trace_id, client_id) == (
        served.service,
        served.kind,
        served.trace_id,
        served.parent_id,
    )
    assert ("todo-ingest", CONSUMER, trace_id, served.id) == (
        stored.service,
        stored.kind,
        stored.trace_id,
        stored.parent_id,
    )
    assert {"http.response.status_code": 202, "http.route": "/new/", "todo.request_id": "client-7"}.items() <= (
        served.attributes.items()
    )
    assert {
        "messaging.destination.name": stack.kafka.topic,
        "messaging.destination.partition.id": str(answer["partition"]),
        "messaging.kafka.offset": answer["offset"],
        "todo.id": row_id,
        "todo.request_id": request_id,
        "todo.task_id": task_id,
    }.items() <= stored.attributes.items()
    assert "client-7" == request_id
    assert served.start < stored.start < stored.end
