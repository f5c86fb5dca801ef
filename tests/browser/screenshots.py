"""Pictures of the admin for the README, of a pipeline that is filled for them: make screenshots."""

import io
import json
import math
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.pages import OpenPage
from tests.support.stack import ROOT, Stack
from tests.support.waiting import eventually
from todos.operations.schedules import POLL_SCHEDULE

FOLDER = ROOT / "docs" / "screenshots"
COLOURS = 256
TITLES = ["Water the plants", "Buy milk", "Call mother", "Fix the bike", "Pay the rent", "Book a flight", "Read a book"]
BACKLOG, MINUTES = 80_000, 1440

# A day of batches as the polls write them, one a minute, in a chain of their own.
DAY = """
    INSERT INTO todos_batch (topic, partition, generation, first_offset, next_offset, created_at, stored, duplicates,
                             dead_letters, lost, bytes, milliseconds, worker, task_id)
    SELECT %s, 0, 1, CASE WHEN minute > 0 THEN minute * 100000::bigint END, (minute + 1) * 100000::bigint,
           now() - (%s - minute) * interval '1 minute', CASE WHEN minute > 0 THEN stored ELSE 0 END, 0, 0, 0,
           stored * 160, 40, 'worker:17', 'a'
    FROM unnest(%s::int[]) WITH ORDINALITY AS day (stored, number), LATERAL (SELECT number - 1 AS minute) m
"""


@pytest.fixture(scope="module")
def day(stack: Stack) -> None:
    """Before anybody looks: the web process keeps what is over."""
    wave = [int(4_000 * (1.3 + math.sin(minute / 200) + 0.2 * math.sin(minute * 1.7))) for minute in range(MINUTES)]
    stack.rows(DAY, stack.kafka.topic, MINUTES, wave)


def test_pictures(day: None, open_page: OpenPage, stack: Stack) -> None:
    produce(stack, 40_000, poison=[b'{"title": ""}', b"not JSON", b'{"title": "a\\u0000b"}'])
    stack.wait_until_drained(seconds=60)
    stack.rows("UPDATE todos_todo SET is_done = true WHERE source_offset % 3 = 0")
    FOLDER.mkdir(parents=True, exist_ok=True)

    ((letter,),) = stack.rows("SELECT max(id) FROM todos_deadletter")
    ((schedule,),) = stack.rows("SELECT id FROM django_celery_beat_periodictask WHERE name = %s", POLL_SCHEDULE)
    shoot(open_page("/admin/todos/todo/", theme="dark"), "todos")
    shoot(open_page(f"/admin/todos/deadletter/{letter}/change/", width=390), "dead-letter-phone")

    slow_down(stack)
    pages = [open_page(), open_page(theme="dark", width=390)]
    produce(stack, BACKLOG)
    tuning = open_page(f"/admin/django_celery_beat/periodictask/{schedule}/change/")
    expect(tuning.locator("#forecast")).to_contain_text("can be stored")
    for page, name in zip(pages, ("pipeline", "pipeline-phone-dark"), strict=True):
        page.reload()
        eventually(lambda page=page: "behind" in page.inner_text("[data-panel=figures]"), seconds=30, what="a lag")  # type: ignore[misc]
        shoot(page, name, whole=True)
    shoot(tuning, "tuning")


def slow_down(stack: Stack) -> None:
    """So that a lag lasts for a picture."""
    ((now,),) = stack.rows("SELECT now()")
    stack.schedule(every_seconds=5, max_records=25)
    old = "SELECT 1 FROM todos_poller WHERE started_at < %s + interval '3 s'"
    eventually(lambda: not stack.rows(old, now), seconds=40, what="the polls of before to end")


def produce(stack: Stack, count: int, poison: list[bytes] | None = None) -> None:
    producer = stack.producer()
    for value in poison or []:
        producer.send(stack.kafka.topic, value)
    for number in range(count):
        event = {"id": str(uuid.uuid4()), "title": f"{TITLES[number % len(TITLES)]} {number}", "created_at": _now()}
        producer.send(stack.kafka.topic, json.dumps(event).encode())
    producer.flush(60)
    producer.close()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def shoot(page: Page, name: str, *, whole: bool = False) -> Path:
    """With few colours, which these pages have anyway: small enough for a repository."""
    page.wait_for_load_state()
    picture = Image.open(io.BytesIO(page.screenshot(full_page=whole))).convert("RGB")
    path = FOLDER / f"{name}.png"
    picture.quantize(COLOURS).save(path, optimize=True)
    return path
