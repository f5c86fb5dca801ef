"""This release and the next one side by side under load: no request fails, and what only the next one knows is kept."""

from collections import Counter
from pathlib import Path

import httpx
import pytest

from devstack.ports import free_port
from tests.e2e.release import next_release
from tests.support.stack import ROOT, MakeStack, Services, Stack
from tests.support.traffic import Background, Load
from tests.support.waiting import eventually

SECONDS = 60


class Reader(Background):
    """Reads the newest todo and marks it as done."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack.web_url)
        self.statuses: Counter[int] = Counter()

    def run(self, client: httpx.Client, thread: int, number: int) -> None:
        page = client.get("/api/todos/", params={"page_size": 1})
        self.statuses[page.status_code] += 1
        for todo in page.json()["results"]:
            self.statuses[client.patch(f"/api/todos/{todo['id']}/", json={"is_done": True}).status_code] += 1


@pytest.fixture
def stack(make_stack: MakeStack, shared_services: Services, template: str) -> Stack:
    """All of it of this release. There are more ticks than its worker can take."""
    stack = make_stack(shared_services, template=template)
    stack.schedule(every_seconds=1, time_budget_seconds=5)
    stack.edge()
    stack.web()
    stack.worker("old worker")
    stack.beat()
    return stack


def wait_for_more(load: Load, count: int = 50) -> None:
    """Until so many more todos of it are accepted, and stored."""
    goal = load.count(202) + count
    eventually(lambda: load.count(202) >= goal, seconds=SECONDS, what=f"{goal} todos to be accepted")
    sql = "SELECT count(*) FROM todos_todo WHERE title LIKE %s"
    eventually(
        lambda: load.stack.rows(sql, f"{load.name} %")[0][0] >= goal, seconds=SECONDS, what=f"{goal} todos to be stored"
    )


def succeeds(stack: Stack, *arguments: str) -> None:
    done = stack.manage(*arguments)
    assert 0 == done.returncode, done.stdout + done.stderr


def alarms(stack: Stack) -> str:
    return " ".join(alarm for (alarm,) in stack.rows("SELECT alarm FROM todos_partitionledger"))


def test_a_new_optional_field_comes_while_todos_flow(stack: Stack, tmp_path: Path) -> None:
    port = free_port()
    with Load(stack) as load, Reader(stack) as reader:
        wait_for_more(load)
        stack.code = next_release(tmp_path / "next")
        succeeds(stack, "migrate")
        wait_for_more(load)  # this release's code on the next one's schema
        stack.code = ROOT
        succeeds(stack, "migrate", "--check")  # which pods wait for before they start, also after a way back
        stack.code = tmp_path / "next"

        worker = stack.worker("new worker")
        stack.edge("new edge", port=port)
        with Load(stack, f"http://127.0.0.1:{port}", label="from version 2") as labelled:
            wait_for_more(labelled)  # though this release's worker still runs, and may not touch them

            worker.stop()  # back to this release alone
            eventually(lambda: "waits for a newer worker" in alarms(stack), seconds=SECONDS, what="an alarm")
            stack.worker("new worker")
            wait_for_more(labelled)
            stack.processes["old worker"].stop()
            wait_for_more(load)  # version 1 is as good as ever
    stack.wait_until_drained(seconds=SECONDS)

    assert {202} == {answer.status for answer in load.answers + labelled.answers}
    assert {200} == set(reader.statuses)
    for sent in (load, labelled):
        sent.assert_stored_exactly_once()
    labels = stack.rows("SELECT label, title LIKE %s, count(*) FROM todos_todo GROUP BY 1, 2", f"{labelled.name} %")
    assert {("", False, len(load.answers)), ("from version 2", True, len(labelled.answers))} == set(labels)
    assert (0, "") == (stack.count("deadletter"), alarms(stack).strip())
    succeeds(stack, "audit")
