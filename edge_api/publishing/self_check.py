"""Tries out, without a broker, what edge_api.publishing needs of the private parts of kafka-python and aiokafka."""

from types import SimpleNamespace

from kafka import KafkaProducer, TopicPartition
from kafka.cluster import ClusterMetadata
from kafka.errors import IllegalStateError
from kafka.producer.record_accumulator import RecordAccumulator
from kafka.producer.sender import Sender
from kafka.record import MemoryRecords

from edge_api.publishing.batch_producer import enqueue, finished_batch
from edge_api.publishing.producer import OutgoingRecord, Position, SendOutcome
from edge_api.publishing.record_batch import encode

WHERE, NODE = TopicPartition("self-check", 3), 1
CLUSTER = SimpleNamespace(leader_for_partition=lambda _: NODE, partitions_for_broker=lambda _: [WHERE])
SAMPLES: list[OutgoingRecord] = [
    (b"key", b"value", []),
    (b"", b"v" * 9_000, [("name", b"value"), ("\u00fc", b"")]),
    (b"key", b"", []),
]
TIMESTAMP, BASE_OFFSET = 1_700_000_000_000, 7


def check(kafka: KafkaProducer) -> None:
    """Raise an exception unless batches are encoded and travel through kafka-python as BatchProducer expects."""
    _check_producer(kafka)
    _check_encoding()
    _check_way_of_a_batch()
    _check_closing()


def _check_producer(kafka: KafkaProducer) -> None:
    """Check the attributes that only an instance has."""
    _expect("KafkaProducer._accumulator", isinstance(kafka._accumulator, RecordAccumulator))
    _expect("KafkaProducer._metadata", isinstance(kafka._metadata, ClusterMetadata))
    _expect("KafkaProducer._sender", isinstance(kafka._sender, Sender) and kafka._sender.is_alive())
    for name in ("wakeup", "force_close", "join"):
        _expect(f"Sender.{name}", callable(getattr(kafka._sender, name)))
    kafka._metadata.brokers()


def _check_encoding() -> None:
    (batch,) = MemoryRecords(encode(SAMPLES, TIMESTAMP))
    _expect("the checksum", batch.validate_crc())
    found = [(record.offset, record.timestamp, record.key, record.value, record.headers) for record in batch]
    _expect("the records", found == [(index, TIMESTAMP, *sample) for index, sample in enumerate(SAMPLES)])


def _check_way_of_a_batch() -> None:
    accumulator, outcomes = RecordAccumulator(), list[SendOutcome]()
    sent = finished_batch(WHERE, SAMPLES, outcomes.append)
    enqueue(accumulator, sent)
    ready, _, _ = accumulator.ready(CLUSTER)
    _expect("RecordAccumulator.ready", ready == {NODE})
    _expect("RecordAccumulator.drain", accumulator.drain(CLUSTER, ready, 2**20) == {NODE: [sent]})
    (encoded,) = MemoryRecords(sent.records.buffer())
    _expect("ProducerBatch.records", len(list(encoded)) == len(SAMPLES) and sent.record_count == 1)
    sent.complete(BASE_OFFSET, -1)
    _expect("ProducerBatch.complete", outcomes == [Position(WHERE.partition, BASE_OFFSET)])
    accumulator.deallocate(sent)
    _expect("RecordAccumulator.deallocate", not accumulator.has_incomplete)


def _check_closing() -> None:
    accumulator, outcomes = RecordAccumulator(), list[SendOutcome]()
    enqueue(accumulator, finished_batch(WHERE, SAMPLES, outcomes.append))
    accumulator.close()
    accumulator.abort_incomplete_batches()
    _expect(
        "RecordAccumulator.abort_incomplete_batches", [type(outcome) for outcome in outcomes] == [IllegalStateError]
    )
    try:
        enqueue(accumulator, finished_batch(WHERE, SAMPLES, outcomes.append))
    except IllegalStateError:
        return
    raise RuntimeError("RecordAccumulator takes batches after close")


def _expect(what: str, is_as_expected: bool) -> None:
    if not is_as_expected:
        raise RuntimeError(f"{what} is not as expected")
