"""A consumer that takes a day to write: librdkafka reads, COPY stores, then the offsets are committed to Kafka.

`python -m benchmarks.baselines.confluent_consumer COUNT`, with KAFKA_* and DATABASE_URL, ends when COUNT records are
stored. It prints seconds (first message to last commit), cpu_seconds (after the imports), first_row_seconds (the
process's start to its first commit in PostgreSQL) and memory_mib (the most that was resident).
"""

import csv
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
from confluent_kafka import Consumer, KafkaException, Message

BATCH, WAIT_SECONDS = 5000, 1.0
COLUMNS = "id, title, description, created_at, source_partition, source_offset, request_id, fingerprint, owner"
CREATE = """
    CREATE TEMPORARY TABLE incoming (LIKE todos_todo INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;
    ALTER TABLE incoming ALTER is_done SET DEFAULT false, ALTER updated_at SET DEFAULT now()
"""
# Otherwise an empty text in CSV is NULL.
COPY = f"""
    COPY incoming ({COLUMNS}) FROM STDIN
    WITH (FORMAT csv, FORCE_NOT_NULL (title, description, request_id, fingerprint, owner))
"""
INSERT = "INSERT INTO todos_todo SELECT * FROM incoming ON CONFLICT DO NOTHING"


def as_csv(messages: Iterable[Message]) -> io.StringIO:
    writer = csv.writer(file := io.StringIO())
    for message in messages:
        if error := message.error():
            raise KafkaException(error)
        todo = json.loads(message.value() or b"")
        headers: dict[str, Any] = dict(message.headers() or ())
        writer.writerow(
            (
                todo["id"],
                todo["title"],
                todo.get("description", ""),
                todo["created_at"],
                message.partition(),
                message.offset(),
                headers.get("request-id", b"").decode(),
                headers.get("fingerprint", b"").decode(),
                todo.get("owner", ""),
            )
        )
    file.seek(0)
    return file


def consume(consumer: Consumer, database: "psycopg2.extensions.connection", count: int) -> dict[str, float]:
    stored, started, first_row = 0, 0.0, 0.0
    with database, database.cursor() as cursor:
        cursor.execute(CREATE)
    while stored < count:
        messages = consumer.consume(BATCH, WAIT_SECONDS)
        if not messages:
            continue
        started = started or time.perf_counter()
        with database, database.cursor() as cursor:  # commits at the end
            cursor.copy_expert(COPY, as_csv(messages))
            cursor.execute(INSERT)
        first_row = first_row or age()
        consumer.commit(asynchronous=False)
        stored += len(messages)
    return {"seconds": time.perf_counter() - started, "first_row_seconds": first_row}


def age() -> float:
    """Return the seconds since this process started."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def most_resident() -> float:
    """Return MiB. getrusage would count the program that started this one, too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    cpu = time.process_time()
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": f"benchmark-{uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([os.environ["KAFKA_TOPIC"]])
    database = psycopg2.connect(os.environ["DATABASE_URL"])
    found = consume(consumer, database, int(sys.argv[1]))
    consumer.close()
    database.close()
    print(json.dumps(found | {"cpu_seconds": time.process_time() - cpu, "memory_mib": most_resident()}))


if __name__ == "__main__":
    main()
