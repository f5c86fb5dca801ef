"""The whole pipeline at rest: what a user, an operator and a foreign producer see."""

import json
import math
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from devstack.process import Process
from tests.support.stack import Stack, children
from tests.support.traffic import produce
from tests.support.waiting import Stopwatch, eventually
from todos.operations.schedules import POLL_SCHEDULE, create_default_schedules

SAMPLES, SAMPLE_SECONDS = 45, 15.0
ACTS_WITHIN_SECONDS = 10


def see_todo(stack: Stack, todo_id: str, *, seconds: float = 10) -> None:
    eventually(lambda: stack.rows("SELECT 1 FROM todos_todo WHERE id = %s", todo_id), seconds=seconds, what="the todo")


def post(stack: Stack, title: str = "Do homework") -> httpx.Response:
    return httpx.post(f"{stack.edge_url}/new/", json={"title": title, "description": "Finish pending homeworks"})


def test_a_posted_todo_shows_up_in_the_api(stack: Stack) -> None:
    answer = post(stack)
    todo = answer.json()

    assert 202 == answer.status_code
    eventually(lambda: httpx.get(todo["url"]).is_success, seconds=10, what=f"GET {todo['url']}")
    found = httpx.get(todo["url"]).json()
    sent = {"id": todo["id"], "title": "Do homework", "description": "Finish pending homeworks", "is_done": False}
    assert sent.items() <= found.items()
    assert todo["id"] in [one["id"] for one in httpx.get(f"{stack.web_url}/api/todos/").json()["results"]]
    position = stack.rows("SELECT source_partition, source_offset FROM todos_todo WHERE id = %s", todo["id"])
    assert [(todo["partition"], todo["offset"])] == position


def test_a_poisoned_record_between_good_ones_is_set_aside_and_the_rest_flows(stack: Stack) -> None:
    stored, dead = stack.count("todo"), stack.count("deadletter")
    sent = produce(stack, 20, duplicates=3, poison=6)

    stack.wait_until_drained(seconds=20)

    assert stored + 20 == stack.count("todo")
    assert dead + 6 == stack.count("deadletter")
    letters = stack.rows('SELECT partition, "offset" FROM todos_deadletter')
    assert sent.poison <= set(letters)


class TestSchedule:
    """Edits act within 10 s, and nothing is restarted."""

    @pytest.fixture(autouse=True)
    def restore(self, stack: Stack) -> Iterator[None]:
        yield
        with stack.django():
            PeriodicTask.objects.filter(name=POLL_SCHEDULE).delete()
            create_default_schedules()

    def poll_starts(self, stack: Stack) -> int:
        """Polls that started within the last 3 seconds and still run."""
        return len(stack.rows("SELECT 1 FROM todos_poller WHERE started_at > now() - interval '3 seconds'"))

    def test_max_records_and_interval_act(self, stack: Stack) -> None:
        stack.schedule(every_seconds=1, max_records=1, timeout_ms=1000, time_budget_seconds=1)

        def batches_of_one() -> bool:
            sent = produce(stack, 12)
            stack.wait_until_drained(seconds=10)
            sql = "SELECT count(DISTINCT stored_at) FROM todos_todo WHERE id = ANY(%s::uuid[])"
            return stack.rows(sql, sent.ids) == [(12,)]

        # Up to two polls of the old schedule run on until their time is up.
        eventually(batches_of_one, seconds=ACTS_WITHIN_SECONDS + 5, what="transactions of one record each")

    def test_switching_it_off_and_on_acts(self, stack: Stack) -> None:
        self.switch(stack, on=False)
        # The polls under way end when their own time is up.
        eventually(lambda: not stack.count("poller"), seconds=ACTS_WITHIN_SECONDS + 20, what="the polls to end")
        todo = post(stack).json()

        self.switch(stack, on=True)

        see_todo(stack, todo["id"], seconds=ACTS_WITHIN_SECONDS)

    def test_nonsense_by_another_way_is_logged_and_todos_still_flow(self, stack: Stack) -> None:
        with stack.django():
            PeriodicTask.objects.filter(name=POLL_SCHEDULE).update(
                kwargs=json.dumps({"max_records": "a lot", "tempo": 3})
            )
            PeriodicTasks.update_changed()

        complaint = "poll_todos: bad kwargs (max_records: input should be a valid integer; tempo: unknown"
        # Up to two polls of the old schedule run on until their time is up.
        eventually(lambda: complaint in stack.log_of("worker"), seconds=ACTS_WITHIN_SECONDS + 5, what="the complaint")
        eventually(lambda: self.poll_starts(stack), seconds=10, what="a poll with the defaults")
        see_todo(stack, post(stack).json()["id"])

    def switch(self, stack: Stack, *, on: bool) -> None:
        with stack.django():
            task = PeriodicTask.objects.get(name=POLL_SCHEDULE)
            task.enabled = on
            task.save()


@pytest.mark.parametrize("concurrency", [2, 1])
def test_with_the_default_schedule_a_todo_is_visible_soon_also_where_polls_change_over(
    stack: Stack, concurrency: int
) -> None:
    if len(children(stack.processes["worker"])) != concurrency:
        stack.processes["worker"].stop()
        stack.worker(concurrency=concurrency)
    see_todo(stack, post(stack).json()["id"], seconds=30)
    start = time.monotonic()

    def sample(number: int) -> float:
        time.sleep(max(start + number * SAMPLE_SECONDS / SAMPLES - time.monotonic(), 0))
        return seconds_until_visible(stack)

    with ThreadPoolExecutor(12) as pool:
        seconds = sorted(pool.map(sample, range(SAMPLES)))

    p95 = seconds[math.ceil(0.95 * SAMPLES) - 1]  # a gap between polls would catch more than the rest
    print(
        f"POST to visible, concurrency {concurrency}: p50 {seconds[SAMPLES // 2]:.3f} s, "
        f"p95 {p95:.3f} s, max {seconds[-1]:.3f} s"
    )
    assert p95 < 3


def seconds_until_visible(stack: Stack) -> float:
    with httpx.Client(timeout=60) as client:
        watch = Stopwatch()
        url = client.post(f"{stack.edge_url}/new/", json={"title": f"sample {uuid.uuid4()}"}).json()["url"]
        eventually(lambda: client.get(url).is_success, seconds=20, what=url, every=0.02)
        return watch.seconds


def test_a_worker_told_to_stop_in_a_long_poll_gives_its_partitions_back_and_ends(stack: Stack) -> None:
    """Last of this module, because it leaves the stack without a worker."""
    stack.schedule(every_seconds=1, timeout_ms=60_000, time_budget_seconds=60)
    long_polls = "SELECT 1 FROM todos_poller WHERE started_at < now() - interval '12 seconds'"
    worker: Process = stack.processes["worker"]
    eventually(lambda: stack.rows(long_polls), seconds=60, what="a poll that outlives the default time budget")

    watch = Stopwatch()
    worker.stop(seconds=75)

    assert watch.seconds < 15
    assert 0 == worker.wait(0)
    assert [] == stack.rows("SELECT worker FROM todos_poller")
    assert [] == stack.rows("SELECT partition, holder FROM todos_partitionledger WHERE holder IS NOT NULL")
