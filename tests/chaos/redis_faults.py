"""Redis loses all it has, becomes a replica, or holds messages in the queue that no poll asked for."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from celery import Celery
from django.conf import settings

from devstack.ports import HOST, free_port
from tests.chaos.world import World
from tests.support.waiting import Stopwatch, eventually
from todos.operations.schedules import POLL_TASK

TAKEN_SECONDS = 60.0
FLOOD = 5_000
# A poll's time budget, what beat needs to notice, and the expiry of a tick, twice.
PAUSE_SECONDS = 60.0
SETTLED_SECONDS = 2.0  # from a COMMIT until the watcher has seen its todos


def _message(**changes: object) -> bytes:
    """A message as Celery sends it, but for the changes."""
    body = base64.b64encode(b'[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]').decode()
    properties = {"correlation_id": "1", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "poll"}}
    properties |= {"priority": 0, "body_encoding": "base64", "delivery_tag": "1"}
    message = {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": POLL_TASK, "id": "1", "root_id": "1", "argsrepr": "()", "kwargsrepr": "{}"},
        "properties": properties,
    }
    return json.dumps(message | changes).encode()


POISON = (
    b"",
    b"not JSON",
    b"{}",
    b"[1]",
    b"\xff\xfe",
    _message(body="no base64!"),
    _message(body=base64.b64encode(b"not JSON").decode()),
    _message(body=base64.b64encode(b"{}").decode()),
    _message(headers={}),
    _message(headers={"lang": "py", "task": "no.such.task", "id": "1"}),
    _message(properties={}),
    _message(**{"content-type": "application/x-python-serialize"}),
    _message(**{"content-encoding": "no-such-encoding"}),
)


@contextmanager
def flush(world: World) -> Iterator[None]:
    with redis.Redis.from_url(world.stack.redis_url) as client:
        client.flushall()
    yield


@contextmanager
def replica(world: World) -> Iterator[None]:
    """A fail-over that went to another machine: this one refuses writes, and ends commands that block."""
    with world.supervisor.nothing_ends(), redis.Redis.from_url(world.stack.redis_url) as client:
        client.replicaof(HOST, free_port())
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def poison_queue(world: World) -> Iterator[None]:
    """Messages that are no tasks, each alone and between ticks: the worker discards them and does not end."""
    queue = settings.CELERY_TASK_DEFAULT_QUEUE
    with world.supervisor.nothing_ends(), redis.Redis.from_url(world.stack.redis_url) as client:
        client.rpush(queue, *world.rng.sample(POISON, len(POISON)))

        def is_discarded() -> bool:
            return not set(client.lrange(queue, 0, -1)) & set(POISON)

        eventually(is_discarded, seconds=TAKEN_SECONDS, what="workers to discard the poison")
        yield


@contextmanager
def queue_flood(world: World) -> Iterator[None]:
    """Polls that no schedule sent, and an operator who pauses: nothing is stored until the operator resumes."""
    queue = settings.CELERY_TASK_DEFAULT_QUEUE
    with redis.Redis.from_url(world.stack.redis_url) as client:
        app = Celery(broker=world.stack.redis_url, set_as_current=False)
        with app.producer_pool.acquire(block=True) as producer:
            for _ in range(FLOOD):
                app.send_task(POLL_TASK, queue=queue, producer=producer)
        try:
            watch = Stopwatch()
            world.manage("pause_polling", "--wait")
            assert watch.seconds < PAUSE_SECONDS, f"pause_polling --wait took {watch.seconds:.0f} s"
            paused_at = time.time()
            yield
            stored = world.journal.seen_between(paused_at + SETTLED_SECONDS, time.time())
            assert not stored, f"{stored} todos were stored while polling was paused"
        finally:
            client.delete(queue)  # without a schedule they do not expire: those that are left would run for hours
            world.manage("resume_polling")
