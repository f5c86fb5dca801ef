"""Trouble in the topic itself: records sent twice, records that can never be todos, and partitions that appear."""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO

from django.core.management import call_command

from edge_api.contract import TodoFields, fingerprint
from tests.chaos.world import World, foreign_title
from tests.support.stack import Stack
from tests.support.traffic import POISON, Sent, produce

DUPLICATES, POISONED, CONFLICTS = 30, 2 * len(POISON), 10
MOST_PARTITIONS = 24
SEND_SECONDS = 60


@contextmanager
def duplicates(world: World) -> Iterator[None]:
    """Todos of all ages once more: at their place by key, or in whatever partition it pleases the producer."""
    accepted = list(world.journal.accepted.values())
    again = world.rng.sample(accepted, min(DUPLICATES, len(accepted)))
    partitions = sorted(world.stack.end_offsets())
    _send(world.stack, [(todo.id, todo.title, world.rng.choice([None, *partitions])) for todo in again])
    yield


@contextmanager
def conflicts(world: World) -> Iterator[None]:
    """Two contents under one Idempotency-Key, and the first once more: in one partition, where the order is known."""
    partition = world.rng.choice(sorted(world.stack.end_offsets()))
    ids = [str(uuid.uuid4()) for _ in range(CONFLICTS)]
    contents = (foreign_title, str.upper, foreign_title)
    _send(world.stack, [(todo_id, content(todo_id), partition) for content in contents for todo_id in ids], keyed=True)
    world.accept(Sent(ids))
    yield


@contextmanager
def poison(world: World) -> Iterator[None]:
    """A foreign producer's nonsense, between good todos of its own and some of them twice."""
    world.accept(produce(world.stack, 10, duplicates=3, poison=POISONED, seed=world.rng.randrange(1 << 30)))
    yield


@contextmanager
def more_partitions(world: World) -> Iterator[None]:
    """One more each time, with todos in it from the start."""
    new = len(world.stack.end_offsets())
    if new < MOST_PARTITIONS:
        with world.stack.django():
            call_command("create_topics", partitions=new + 1, stdout=StringIO())
        ids = [str(uuid.uuid4()) for _ in range(10)]
        _send(world.stack, [(todo_id, foreign_title(todo_id), new) for todo_id in ids])
        world.accept(Sent(ids))
    yield


def _send(stack: Stack, todos: Sequence[tuple[str, str, int | None]], *, keyed: bool = False) -> None:
    """Each todo's id and title, with the partition it goes to; None leaves that to its key.

    `keyed` as the edge does under an Idempotency-Key.
    """
    producer = stack.producer()
    try:
        futures = [
            producer.send(
                stack.kafka.topic,
                json.dumps({"id": todo_id, "title": title}).encode(),
                key=todo_id.encode(),
                partition=partition,
                headers=[("fingerprint", fingerprint(TodoFields(title=title)).encode())] if keyed else [],
            )
            for todo_id, title, partition in todos
        ]
        for future in futures:
            future.get(SEND_SECONDS)
    finally:
        producer.close()
