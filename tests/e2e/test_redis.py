"""A real worker and what Redis may do to it: a fail-over, a full memory, and messages that are none."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from devstack import Valkey
from tests.support.stack import MakeStack, Services, Stack, running
from tests.support.waiting import eventually
from todos.operations.schedules import POLL_TASK

pytestmark = pytest.mark.timeout(120)
OPTIONS = {"timeout_ms": 100, "time_budget_seconds": 1}


def message(**changes: Any) -> bytes:
    """A tick as Celery writes it, with some of its fields replaced."""
    body = base64.b64encode(json.dumps([[], OPTIONS, {}]).encode()).decode()
    properties = {"delivery_info": {"exchange": "", "routing_key": "poll"}, "delivery_tag": "tag"}
    whole: dict[str, Any] = {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": POLL_TASK, "id": "one", "lang": "py"},
        "properties": properties | {"body_encoding": "base64"},
    }
    for name, value in changes.items():
        target = whole["properties"] if name in {"delivery_info", "delivery_tag", "body_encoding"} else whole
        target[name] = value
    return json.dumps(whole).encode()


POISON = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 10_000,
    b"[]",
    b"1",
    b"null",
    b'"text"',
    b"{}",
    message(body="not base64!"),
    message(body=5),
    message(body=base64.b64encode(b"not JSON").decode()),
    message(body=base64.b64encode(b"5").decode()),
    message(body_encoding="rot13"),
    message(properties=None),
    message(properties=[]),
    message(delivery_info=None),
    message(delivery_info={}),
    message(delivery_tag=None),
    message(delivery_tag={}),
    message(headers=None),
    message(headers=[]),
    message(headers="text"),
    message(headers={"task": {}}),
    message(headers={"task": POLL_TASK}),
    message(headers={"task": "todos.tasks.absent", "id": "two"}),
    message(headers={"task": POLL_TASK, "id": "three", "expires": "soon"}),
    message(headers={"task": POLL_TASK, "id": "four", "eta": "never"}),
    message(headers={"task": POLL_TASK, "id": {}}),
    message(headers={"task": POLL_TASK, "id": "six", "timelimit": "soon"}),
    message(headers={"task": POLL_TASK, "id": "seven", "timelimit": [1, {}]}),
    message(headers={"task": POLL_TASK, "id": "eight", "retries": "many"}),
    message(headers={"task": POLL_TASK, "id": "five", "compression": "zip"}),
]


@pytest.fixture(scope="module")
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with running(Valkey(tmp_path_factory.mktemp("valkey"))) as valkey:
        yield valkey


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, shared_services: Services, own_valkey: Valkey, template: str) -> Stack:
    """One worker of one child; poison lies in its queue when it starts."""
    stack = make_stack(shared_services._replace(valkey=own_valkey), template=template, partitions=1)
    with Redis.from_url(stack.redis_url) as redis:
        redis.lpush("poll", *POISON)
    stack.worker(concurrency=1)
    return stack


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    with Redis.from_url(stack.redis_url) as redis:
        yield redis


@pytest.fixture(autouse=True)
def same_worker(stack: Stack) -> Iterator[None]:
    """Fail if the worker ended, or if it cannot poll any more."""
    pid = stack.processes["worker"].pid
    yield
    polls = stack.count("pollrun")
    with Celery(broker=stack.redis_url) as app:
        app.send_task(POLL_TASK, kwargs=OPTIONS, queue="poll")
    eventually(lambda: stack.count("pollrun") > polls, seconds=30, what="another poll")
    assert pid == stack.processes["worker"].pid


def lines(stack: Stack, text: str) -> int:
    return stack.log_of("worker").count(text)


def test_a_worker_discards_what_is_no_task(stack: Stack, redis: Redis) -> None:
    redis.lpush("poll", *POISON)
    eventually(lambda: not redis.llen("poll"), seconds=30, what="the queue to be empty")
    eventually(lambda: not redis.hlen("unacked"), seconds=30, what="each message to be settled")
    assert 1 == lines(stack, "that are no tasks")


def test_a_replica_is_an_outage_of_one_line_and_its_end(stack: Stack, redis: Redis) -> None:
    begun, ended = lines(stack, "Redis is unavailable"), lines(stack, "Redis is available again")
    seen = len(stack.log_of("worker"))
    redis.slaveof("127.0.0.1", 1)
    eventually(lambda: lines(stack, "Redis is unavailable") > begun, seconds=30, what="the worker to notice")
    redis.config_set("replica-serve-stale-data", "no")  # some replicas refuse reads as well
    with pytest.raises(Exception, match="MASTER is down"):
        redis.get("anything")
    redis.slaveof()

    eventually(lambda: lines(stack, "Redis is available again") > ended, seconds=30, what="the worker to reconnect")
    assert "Traceback" not in stack.log_of("worker")[seen:]
    assert (begun + 1, ended + 1) == (lines(stack, "Redis is unavailable"), lines(stack, "Redis is available again"))


def test_a_full_redis_costs_ticks_and_no_worker(stack: Stack, redis: Redis) -> None:
    begun, ended = lines(stack, "Redis is unavailable"), lines(stack, "Redis is available again")
    stack.processes["worker"].pause()
    redis.lpush("poll", message(delivery_tag="of a full Redis"))  # before: a full Redis accepts none
    redis.config_set("maxmemory", 1)
    stack.processes["worker"].resume()
    eventually(lambda: lines(stack, "Redis is unavailable") > begun, seconds=30, what="the worker to notice")
    redis.config_set("maxmemory", 0)
    eventually(lambda: lines(stack, "Redis is available again") > ended, seconds=30, what="the worker to reconnect")
