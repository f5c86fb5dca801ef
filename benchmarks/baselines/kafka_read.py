"""kafka-python alone, reading a topic from its start to its end: half of the drain's serial limit. Prints count and
seconds. `python -m benchmarks.baselines.kafka_read`, with KAFKA_* in the environment."""

import json
import os
import time

from kafka import KafkaConsumer, TopicPartition

from edge_api.shared.env import read_env
from edge_api.shared.kafka_settings import KafkaSettings


def main() -> None:
    kafka = read_env(KafkaSettings, "KAFKA_", os.environ)
    started = time.perf_counter()
    consumer = KafkaConsumer(**kafka.client_options(), group_id=None, auto_offset_reset="earliest")
    partitions = [TopicPartition(kafka.topic, number) for number in consumer.partitions_for_topic(kafka.topic)]
    total = sum(consumer.end_offsets(partitions).values()) - sum(consumer.beginning_offsets(partitions).values())
    consumer.assign(partitions)
    count = 0
    while count < total:
        for records in consumer.poll(timeout_ms=1000, max_records=5000).values():
            count += len(records)
    print(json.dumps({"count": count, "seconds": time.perf_counter() - started}))
    consumer.close()


if __name__ == "__main__":
    main()
