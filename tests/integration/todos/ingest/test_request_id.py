"""The id of a request gets from its record to the row, and to the log of the batch that stored it."""

import logging
from collections.abc import Callable

import pytest

from tests.support.topic import Topic, event
from todos.models import Todo

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]


def test_the_row_and_the_log_of_its_batch_name_the_request(
    make_memory_topic: MakeTopic, caplog: pytest.LogCaptureFixture
) -> None:
    topic = make_memory_topic()
    topic.send(event(), headers=[("request-id", b"client-7")])
    topic.send(event())
    topic.send(event(), headers=[("other", b"x"), ("request-id", b"client-8")])

    with caplog.at_level(logging.DEBUG, "todos.ingest.consumer"):
        topic.poll()

    stored = Todo.objects.order_by("source_offset").values_list("request_id", flat=True)
    assert ["client-7", "", "client-8"] == list(stored)
    logged = [vars(record)["request_ids"] for record in caplog.records if hasattr(record, "request_ids")]
    assert ["client-7", "client-8"] == [each for some in logged for each in some]


@pytest.mark.parametrize("value", [b"a b", b"x" * 129, b"", b"\xff", b"a\n", b"\0"])
def test_what_no_edge_wrote_is_left_out(make_memory_topic: MakeTopic, value: bytes) -> None:
    topic = make_memory_topic()
    topic.send(event(), headers=[("request-id", value)])

    assert 1 == topic.poll().stored
    assert "" == Todo.objects.get().request_id
