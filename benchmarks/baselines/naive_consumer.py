"""The consumer that comes to mind first: each task joins the group, polls once, saves with bulk_create and leaves.

`python -m benchmarks.baselines.naive_consumer COUNT` runs such tasks, one after the other without a pause, until COUNT
todos are stored; prints the seconds.
"""

import json
import sys
import time

import django

django.setup()

from django.conf import settings  # noqa: E402 - after the set-up
from django.utils import timezone  # noqa: E402
from kafka import KafkaConsumer  # noqa: E402

from todos.models import Todo  # noqa: E402


def task() -> int:
    consumer = KafkaConsumer(
        settings.KAFKA.topic,
        bootstrap_servers=settings.KAFKA.bootstrap_servers,
        group_id=f"{settings.KAFKA.group}-naive",
        auto_offset_reset="earliest",
        value_deserializer=json.loads,
    )
    todos = [
        Todo(
            id=record.value["id"],
            title=record.value["title"],
            description=record.value.get("description", ""),
            created_at=record.value.get("created_at") or timezone.now(),
            source_partition=record.partition,
            source_offset=record.offset,
        )
        for records in consumer.poll(timeout_ms=10_000, max_records=500).values()
        for record in records
    ]
    Todo.objects.bulk_create(todos)
    consumer.close()  # commits the offsets
    return len(todos)


def main() -> None:
    wanted, stored = int(sys.argv[1]), 0
    started = time.perf_counter()
    while stored < wanted:
        stored += task()
    print(json.dumps(time.perf_counter() - started))


if __name__ == "__main__":
    main()
