"""Kafka comes back with an older log, or a producer leaves its transaction open."""

import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from kafka import KafkaProducer

from tests.chaos.evidence import read_topic
from tests.chaos.world import World, foreign_title
from tests.support.traffic import Sent
from tests.support.waiting import eventually

TODOS_SINCE_COPY, SINCE_COPY_SECONDS = 200, 60.0
SEND_SECONDS = 60
TRANSACTION_MS = 600_000  # longer than any hold: the producer decides, not the broker


@contextmanager
def older_log(world: World) -> Iterator[None]:
    """Kafka's data is copied; when more todos are stored Kafka comes back, under load, with the copy.

    What was stored meanwhile is in the database alone. An operator decides about each partition that is halted.
    """
    kafka = world.services.kafka
    with tempfile.TemporaryDirectory(dir=kafka.directory) as folder:
        with world.nothing_in_flight():
            ends = world.stack.end_offsets()
            kafka.stop()
            for node in world.nodes():
                shutil.copytree(node.data, Path(folder, str(node.node)))
            kafka.start()
        copied_at = time.time()
        eventually(
            lambda: world.journal.visible(copied_at) >= TODOS_SINCE_COPY,
            seconds=SINCE_COPY_SECONDS,
            what=f"{TODOS_SINCE_COPY} todos since the copy",
        )
        with world.nothing_in_flight():
            world.journal.replaced += read_topic(world.stack, world.stack.end_offsets(), since=ends)
            kafka.stop()
            for node in world.nodes():
                shutil.rmtree(node.data)
                Path(folder, str(node.node)).rename(node.data)
    kafka.start()
    yield
    for partition in world.halted_partitions():
        world.manage("rewind", "--partition", str(partition), "--to-agreement", "--dry-run")
        world.manage("rewind", "--partition", str(partition), "--to-agreement")


@contextmanager
def open_transaction(world: World) -> Iterator[None]:
    """One partition can be read only up to where the transaction began, until its producer commits."""
    topic, partition = world.stack.kafka.topic, world.rng.choice(sorted(world.stack.end_offsets()))
    todo_id = str(uuid.uuid4())
    options = {"transactional_id": f"chaos {todo_id}", "transaction_timeout_ms": TRANSACTION_MS}
    with closing(KafkaProducer(**world.stack.kafka.client_options(), acks="all", **options)) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        value = json.dumps({"id": todo_id, "title": foreign_title(todo_id)}).encode()
        producer.send(topic, value, key=todo_id.encode(), partition=partition).get(SEND_SECONDS)
        try:
            world.wait_for_others(partition)
            yield
        finally:
            producer.commit_transaction()
            world.journal.markers[partition] += 1  # the commit is a record of its own, which no reader gets
            world.accept(Sent([todo_id]))
