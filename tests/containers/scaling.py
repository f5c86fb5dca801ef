"""`--scale edge=3 --scale worker=4`: everybody behind the one address works, and no todo is lost or stored twice."""

import json
import time
from collections.abc import Callable
from itertools import count

from tests.containers.compose import Compose
from tests.containers.engine import Failed
from tests.containers.http import eventually, status

EDGES, WORKERS = 3, 4
BATCH = json.dumps([{"title": "one of many, counted"}] * 200).encode()
# Two polls run at a time by default: whoever adds workers shortens the interval in the admin, as this does.
MORE_POLLS = """
from django_celery_beat.models import PeriodicTask
from todos.operations.schedules import POLL_SCHEDULE, interval_of
schedule = PeriodicTask.objects.get(name=POLL_SCHEDULE)
schedule.interval, schedule.expire_seconds = interval_of(1), 1
schedule.save()
"""
FOUND = """
from todos.models import Batch, DeadLetter, Todo
workers = {worker.split(":")[0] for worker in Batch.objects.values_list("worker", flat=True)}
print(Todo.objects.filter(title="one of many, counted").count(), DeadLetter.objects.count(), *workers)
"""


def check(compose: Compose, token: str, say: Callable[[str], None]) -> None:
    edges, workers = compose.containers("edge"), compose.containers("worker")
    if (len(edges), len(workers)) != (EDGES, WORKERS):
        raise Failed(f"{len(edges)} edges and {len(workers)} workers run")
    compose.shell(MORE_POLLS)
    started, batches, addresses = time.monotonic(), 0, count(1)
    hosts = {container[:12] for container in workers}

    def all_take_part() -> list[int] | None:
        nonlocal batches
        for address in (next(addresses) for _ in range(10)):
            _send(compose, token, f"203.0.113.{address % 250}")
            batches += 1
        served = [_requests_of(compose, edge) for edge in edges]
        return served if all(served) and hosts <= set(compose.shell(FOUND).split()[2:]) else None

    served = eventually(all_take_part, 180, f"{EDGES} edges and {WORKERS} workers to take part")
    sent = batches * len(json.loads(BATCH))
    eventually(lambda: compose.shell(FOUND).split()[:2] == [f"{sent}", "0"] or None, 60, f"{sent} todos to be stored")
    say(
        f"{EDGES} edges behind one port had {served} requests, {WORKERS} workers stored batches: "
        f"{sent} todos sent, {sent} stored, no dead letter, in {time.monotonic() - started:.0f} s"
    )


def _send(compose: Compose, token: str, address: str) -> None:
    if (answer := status(compose.url("EDGE", "new/batch/"), BATCH, token, address)) != 202:
        raise Failed(f"a batch through the proxy got {answer}")


def _requests_of(compose: Compose, edge: str) -> int:
    code = "from urllib.request import urlopen; print(urlopen('http://localhost:7007/metrics').read().decode())"
    lines = compose.python(edge, code).splitlines()
    return round(sum(float(line.split()[-1]) for line in lines if line.startswith("todo_edge_requests_total{")))
