"""kafka-python alone, putting todos into a topic as fast as it can: the limit of the batch endpoint, and the backlog of
the drain. `python -m benchmarks.baselines.kafka_produce COUNT`, with KAFKA_* in the environment; prints seconds."""

import json
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

from kafka import KafkaProducer
from uuid_utils.compat import uuid7

from edge_api.contract import TodoCreated, record_key
from edge_api.shared.env import read_env
from edge_api.shared.kafka_settings import KafkaSettings

# Large batches: with kafka-python's default of 16 KiB and no linger it would be slower.
BATCH_SIZE, LINGER_MS = 128 * 1024, 2
CHUNK = 50_000  # made before the clock starts, without filling the memory with all of them


def records(count: int) -> list[tuple[bytes, bytes]]:
    made = []
    for number in range(count):
        todo_id = uuid7()
        todo = TodoCreated.model_construct(
            id=todo_id,
            created_at=datetime.now(UTC),
            title=f"Do homework {number:010d}",
            description="Finish pending homeworks",
        )
        made.append((record_key(todo_id), todo.to_json()))
    return made


class Acknowledged:
    def __init__(self) -> None:
        self.count = 0
        self.error: BaseException | None = None

    def on_ack(self, _metadata: Any) -> None:
        self.count += 1

    def on_error(self, exc: BaseException) -> None:
        self.error = exc


def produce(producer: KafkaProducer, topic: str, count: int) -> float:
    acknowledged, seconds = Acknowledged(), 0.0
    for start in range(0, count, CHUNK):
        chunk = records(min(CHUNK, count - start))
        started = time.perf_counter()
        for key, value in chunk:
            producer.send(topic, key=key, value=value).add_callback(acknowledged.on_ack).add_errback(
                acknowledged.on_error
            )
        producer.flush()
        seconds += time.perf_counter() - started
    if acknowledged.error or acknowledged.count != count:
        raise SystemExit(f"{acknowledged.count} of {count} records were acknowledged: {acknowledged.error}")
    return seconds


def main() -> None:
    kafka = read_env(KafkaSettings, "KAFKA_", os.environ)
    producer = KafkaProducer(
        **kafka.client_options(),
        acks="all",
        enable_idempotence=False,
        batch_size=BATCH_SIZE,
        linger_ms=LINGER_MS,
        metrics_enabled=False,
    )
    producer.partitions_for(kafka.topic)
    print(json.dumps(produce(producer, kafka.topic, int(sys.argv[1]))))
    producer.close()


if __name__ == "__main__":
    main()
