"""A renamed name inside kafka-python or aiokafka causes one warning and the fallback to the public API."""

import pytest

from tests.support.renamed import run_renamed

CREATE_TWICE = """
import asyncio, logging, socket, sys
from edge_api.publishing.producer import create_producer
from edge_api.shared.kafka_settings import KafkaSettings
logging.basicConfig(format="%(name)s %(message)s", stream=sys.stdout, level=logging.WARNING)
logging.getLogger("kafka").setLevel(logging.CRITICAL)
with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
    settings = KafkaSettings(bootstrap_servers=f"127.0.0.1:{server.getsockname()[1]}")
    for _ in range(2):
        producer = create_producer(settings, ack_timeout=0.3, loop=asyncio.new_event_loop())
        print(type(producer).__name__, producer.unavailable_reason())
        producer.abort()
        producer._kafka._sender.join(20)
        print("alive" if producer._kafka._sender.is_alive() else "closed")
"""


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("kafka", "_accumulator"),
        ("kafka", "_tp_lock"),
        ("kafka", "force_close"),
        ("aiokafka", "DefaultRecordBatchBuilder"),
    ],
)
def test_a_name_that_moved_is_said_once_and_the_public_api_is_used(package: str, name: str) -> None:
    printed = run_renamed(CREATE_TWICE, package, name).splitlines()

    warnings = [line for line in printed if line.startswith("edge_api.publishing.producer ")]
    assert len(warnings) == 1
    assert "Sending by KafkaProducer.send(): slower, still exact" in warnings[0]
    assert 2 == sum(line.startswith("Producer Kafka is not reachable, or its topic") for line in printed)
    assert 2 == printed.count("closed")


def test_the_pinned_versions_are_as_expected() -> None:
    printed = run_renamed(CREATE_TWICE, "nothing", "nothing").splitlines()

    assert 2 == sum(line.startswith("BatchProducer Kafka is not reachable") for line in printed)
    assert ["closed"] * 2 == [line for line in printed if line in ("closed", "alive")]
    assert not [line for line in printed if line.startswith("edge_api.")]
