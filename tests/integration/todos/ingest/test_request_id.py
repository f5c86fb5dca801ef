"""The id of a request gets from its record to the row, and to the log of the batch that stored it."""

import logging
from collections.abc import Callable
from struct import unpack_from

import pytest

from tests.support.batches import batch
from tests.support.hostile import Draft
from tests.support.topic import Topic, event
from todos.kafka.decoding.batches import open_batch
from todos.kafka.decoding.plain import plain_records
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


def test_records_with_an_id_are_read_the_fast_way() -> None:
    headers = ((b"request-id", b"019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b"),)
    drafts = [Draft(event(), b"key", headers, timestamp=1) for _ in range(300)]
    data = bytes(batch(drafts, 0, "none"))
    opened, _ = open_batch(data)

    read = list(plain_records(opened, 0))

    assert 300 == len(read) == unpack_from(">i", data, 57)[0]
    assert [("request-id", headers[0][1])] == list(read[0].headers)
