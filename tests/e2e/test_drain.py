"""Exactly once, whatever happens to workers, leases and beat while a backlog drains."""

import itertools
import re
from collections.abc import Callable

import psutil
import pytest

from tests.support.renamed import renamed
from tests.support.stack import MakeStack, Services, Stack, children, runs
from tests.support.traffic import assert_exact, produce
from tests.support.waiting import eventually

MakeFresh = Callable[..., Stack]
BACKLOG = 20_000


@pytest.fixture
def fresh(make_stack: MakeStack, shared_services: Services, template: str, request: pytest.FixtureRequest) -> MakeFresh:
    """Makes a stack for one test, and ends its processes with it."""

    def make(**options: int) -> Stack:
        stack = make_stack(shared_services, template=template, **options)
        request.addfinalizer(stack.stop)
        return stack

    return make


def stored(stack: Stack) -> int:
    return stack.count("todo")


def wait_for_progress(stack: Stack, count: int, *, seconds: float = 60) -> None:
    """Until `count` more todos are stored than now."""
    goal = stored(stack) + count
    eventually(lambda: stored(stack) >= goal, seconds=seconds, what=f"{goal} todos")


def test_a_backlog_survives_kills_of_workers_and_their_children_exactly_once(fresh: MakeFresh) -> None:
    stack = fresh(partitions=12)
    stack.schedule(every_seconds=1, max_records=40)
    sent = produce(stack, BACKLOG, duplicates=1_000, poison=50)
    stack.worker("one", concurrency=1)
    stack.worker("two", concurrency=2, env=renamed("kafka", "_fetcher"))  # reads by kafka-python's public API alone
    stack.beat()

    orphans: list[psutil.Process] = []
    for victim, kill in zip(["one", "two"] * 3, ["child", "child", "tree", "parent", "child", "tree"], strict=True):
        wait_for_progress(stack, 1_000)
        worker = stack.processes[victim]
        if kill == "child":
            children(worker)[0].kill()
        elif kill == "tree":
            worker.kill()
            worker.start()
        else:
            orphans = children(worker)
            psutil.Process(worker.pid).kill()
            worker.wait(10)
            worker.start()
    assert stored(stack) < BACKLOG, "the backlog was gone before the last kill"
    stack.schedule(every_seconds=1, max_records=1_000)  # the rest may go faster

    stack.wait_until_drained(seconds=90)
    assert_exact(stack, sent)
    warned = ["Reading through kafka-python's public API: slower" in stack.log_of(name) for name in ("one", "two")]
    assert [False, True] == warned
    eventually(lambda: not any(map(runs, orphans)), seconds=30, what="the children of a killed worker to end")
    eventually(
        lambda: set(stack.group_lags().values()) == {"0"}, seconds=30, what="Kafka's own tool to show no lag", every=1
    )
    assert set(range(12)) == stack.group_lags().keys()


def test_two_workers_forced_onto_one_partition_store_it_exactly_once(fresh: MakeFresh) -> None:
    stack = fresh(partitions=1)
    stack.schedule(every_seconds=1, max_records=5)
    for name in ("one", "two"):
        stack.worker(name, concurrency=1)
    stack.beat()
    eventually(lambda: stack.count("poller") == 2, seconds=30, what="both workers to poll")
    sent = produce(stack, 3_000, duplicates=150, poison=6)

    ends = stack.end_offsets()
    other = "(SELECT id FROM todos_poller p WHERE p.id <> l.holder AND p.expires_at > now() LIMIT 1)"
    steals = itertools.cycle(
        [f"epoch = epoch + 1, holder = {other}", "epoch = epoch + 1, holder = gen_random_uuid()", f"holder = {other}"]
    )

    def steal() -> bool:
        stack.rows(f"UPDATE todos_partitionledger l SET {next(steals)}")
        return stack.ledger() == ends

    eventually(steal, seconds=90, what=f"the ledger to reach {ends}", every=0.1)

    assert_exact(stack, sent)
    for name in ("one", "two"):
        stack.processes[name].stop()  # its last poll logs what it did
    logs = stack.log_of("one") + stack.log_of("two")
    assert "partitions of" in logs, "no worker ever lost the partition in mid-batch"
    polls = re.findall(r"stored ([\d,]+) todos .*\(([\d,]+) duplicates, ([\d,]+) dead letters", logs)
    counts = [sum(int(count.replace(",", "")) for count in column) for column in zip(*polls, strict=True)]
    assert [3_000, 150, 6] == counts, "some batch was stored twice (stored, duplicates, dead letters)"


def test_a_worker_told_to_stop_in_mid_drain_loses_and_repeats_nothing(fresh: MakeFresh) -> None:
    stack = fresh()
    stack.schedule(every_seconds=1, max_records=100)
    sent = produce(stack, 8_000, duplicates=100, poison=10)
    worker = stack.worker()
    stack.beat()

    for _ in range(2):
        wait_for_progress(stack, 1_000)
        worker.stop(seconds=30)
        assert 0 == worker.wait(0)
        assert [] == stack.rows("SELECT worker FROM todos_poller")
        worker = stack.worker()
    assert stored(stack) < 8_000, "the backlog was gone before the last stop"

    stack.wait_until_drained(seconds=60)
    assert_exact(stack, sent)


def test_beat_killed_and_started_again_and_two_beats_at_once_change_nothing(fresh: MakeFresh) -> None:
    stack = fresh()
    stack.schedule(every_seconds=1, timeout_ms=1_000, time_budget_seconds=1)
    stack.worker()
    beat = stack.beat()
    sent = produce(stack, 500)
    stack.wait_until_drained(seconds=30)

    beat.kill()
    eventually(lambda: not stack.count("poller"), seconds=20, what="the last poll to end")
    sent += produce(stack, 500, duplicates=10, poison=2)
    assert 500 == stored(stack), "something polls without beat"

    stack.beat("another beat")
    stack.beat()
    stack.wait_until_drained(seconds=30)
    sent += produce(stack, 2_000, duplicates=100, poison=5)
    stack.wait_until_drained(seconds=60)
    assert_exact(stack, sent)
