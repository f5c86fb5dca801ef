"""A day of an operator: sign in, watch, tune, repair; at a desk and on a phone, by day and by night."""

import re
import uuid
from collections.abc import Iterator

import httpx
import pytest
from django_celery_beat.models import PeriodicTask
from playwright.sync_api import Browser, Page, expect

from tests.browser.looks import faint_texts, overflow
from tests.browser.pages import OpenPage, sign_in
from tests.support.stack import Stack
from tests.support.waiting import eventually
from todos.operations.schedules import POLL_SCHEDULE, create_default_schedules

TUNING = "/admin/django_celery_beat/periodictask/{}/change/"


def post(stack: Stack, title: str = "Do homework") -> str:
    answer = httpx.post(f"{stack.edge_url}/new/", json={"title": title})
    assert 202 == answer.status_code
    return str(answer.json()["id"])


def see_todo(stack: Stack, title: str) -> None:
    sql = "SELECT 1 FROM todos_todo WHERE title = %s"
    eventually(lambda: stack.rows(sql, title), seconds=20, what=f"the todo {title}")


def schedule_id(stack: Stack) -> int:
    ((pk,),) = stack.rows("SELECT id FROM django_celery_beat_periodictask WHERE name = %s", POLL_SCHEDULE)
    return int(pk)


def test_who_signs_in_sees_the_pipeline(browser: Browser, stack: Stack) -> None:
    with browser.new_context(base_url=stack.web_url) as context:
        page = context.new_page()
        sign_in(page, password="wrong")
        expect(page.get_by_text("Please enter the correct username and password")).to_be_visible()
        sign_in(page)
        expect(page.get_by_role("heading", name="Pipeline")).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("Live")


def test_what_is_stored_appears_without_a_reload(open_page: OpenPage, stack: Stack) -> None:
    page = open_page()
    page.evaluate("window.sameDocument = true")
    before = stack.count("todo")
    for _ in range(5):
        post(stack)

    figure = page.locator(".todo-card", has_text="in the last hour").first
    expect(figure).to_contain_text(f"{before + 5} in the last hour")
    expect(page.get_by_role("link", name=f"{stack.kafka.topic}/").first).to_be_visible()
    assert page.evaluate("window.sameDocument")


def test_focus_stays_where_it_is_while_panels_change(open_page: OpenPage, stack: Stack) -> None:
    page = open_page()
    page.locator("#act-tune").focus()
    post(stack)
    with page.expect_response("**/admin/pipeline/"):
        pass
    with page.expect_response("**/admin/pipeline/"):
        pass
    assert "act-tune" == page.evaluate("document.activeElement.id")


def test_a_page_that_is_cut_off_says_so_and_comes_back(open_page: OpenPage) -> None:
    page = open_page()
    page.context.set_offline(True)
    expect(page.get_by_role("status")).to_contain_text("Not up to date")
    page.context.set_offline(False)
    expect(page.get_by_role("status")).to_have_text("Live")


@pytest.fixture
def default_schedule(stack: Stack) -> Iterator[None]:
    yield
    with stack.django():
        PeriodicTask.objects.filter(name=POLL_SCHEDULE).delete()
        create_default_schedules()


@pytest.mark.usefixtures("default_schedule")
def test_tuning_predicts_saves_and_acts(open_page: OpenPage, stack: Stack) -> None:
    page = open_page(TUNING.format(schedule_id(stack)))
    expect(page.locator("#forecast")).to_contain_text("2 concurrent polls")
    page.get_by_label("Interval").fill("1")
    page.get_by_label("Time budget").fill("1")
    expect(page.locator("#forecast")).to_contain_text("1 concurrent poll.")
    page.get_by_label("Records per batch").fill("0")
    expect(page.locator("#forecast")).to_contain_text("out of its range")
    page.get_by_label("Records per batch").fill("1234")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()

    def young_polls() -> bool:
        """Polls of the new time budget end before they are 3 s old."""
        old = stack.rows("SELECT 1 FROM todos_poller WHERE started_at < now() - interval '3 s'")
        return not old and bool(stack.rows("SELECT 1 FROM todos_poller"))

    eventually(young_polls, seconds=25, what="polls of one second")
    page.goto(TUNING.format(schedule_id(stack)).replace("change", "history"))
    expect(page.get_by_text("Interval: 5 → 1, Records per batch: 10000 → 1234 and Time budget: 10 → 1")).to_be_visible()


@pytest.mark.usefixtures("default_schedule")
def test_pause_and_resume_from_the_first_page(open_page: OpenPage, stack: Stack) -> None:
    page = open_page()
    page.get_by_role("button", name="Pause polling").click()
    expect(page.get_by_text(f"Paused: {POLL_SCHEDULE}. Beat")).to_be_visible()
    expect(page.get_by_text("No poll is running: polling is paused.")).to_be_visible()

    post(stack, "waits in Kafka")
    expect(page.get_by_text(f"Polling is paused: {POLL_SCHEDULE}; 1 todo waits in Kafka.")).to_be_visible()
    page.get_by_role("button", name="Poll now").click()
    eventually(
        lambda: stack.rows("SELECT 1 FROM todos_todo WHERE title = 'waits in Kafka'"),
        seconds=15,
        what="the poll by hand",
    )
    page.get_by_role("button", name="Resume polling").click()
    expect(page.get_by_role("button", name="Pause polling")).to_be_visible()


def test_a_dead_letter_is_repaired_and_becomes_a_todo(open_page: OpenPage, stack: Stack) -> None:
    producer = stack.producer()
    producer.send(stack.kafka.topic, b'{"title": ""}').get(30)
    producer.close()
    page = open_page()
    page.get_by_role("link", name="not a valid TodoCreated event").click()
    page.get_by_role("link", name=f"{stack.kafka.topic}/").first.click()
    title = f"repaired {uuid.uuid4()}"
    page.get_by_label("Payload").fill(f'{{"title": "{title}"}}')
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_role("button", name="Redrive").click()
    expect(page.get_by_text("1 redriven.")).to_be_visible()
    see_todo(stack, title)


def test_todos_are_marked_by_keyboard_and_exported(open_page: OpenPage, stack: Stack) -> None:
    title = f"marked {uuid.uuid4()}"
    todo_id = post(stack, title)
    see_todo(stack, title)
    page = open_page("/admin/todos/todo/")
    page.keyboard.press("/")
    page.keyboard.type(title)
    page.keyboard.press("Enter")
    page.get_by_role("checkbox", name="Select record").focus()
    page.keyboard.press("Space")
    page.get_by_label("Select action to run").select_option("export_csv")
    with page.expect_download() as download:
        page.get_by_role("button", name="Run").press("Enter")
    assert f"{todo_id},{title}," in download.value.path().read_text()
    page.get_by_label("Select action to run").select_option("mark_done")
    page.get_by_role("button", name="Run").press("Enter")
    expect(page.get_by_text("1 todo marked done.")).to_be_visible()


def test_the_menu_of_a_phone_opens_by_keyboard(open_page: OpenPage) -> None:
    page = open_page(width=390)
    page.get_by_role("button", name="Menu").press("Enter")
    page.get_by_role("link", name="Dead letters").press("Enter")
    expect(page).to_have_url(re.compile("/deadletter/"))


def test_a_faint_text_would_be_noticed(open_page: OpenPage) -> None:
    page = open_page()
    page.evaluate("document.querySelector('.todo-card h2').style.color = '#999'")
    assert ["Stored: 2.85"] == faint_texts(page)


@pytest.fixture
def paths(stack: Stack) -> list[str]:
    """Every list, and a row of each."""
    post(stack)
    eventually(lambda: stack.count("batch") > 6, seconds=20, what="a batch")
    found = ["/admin/", "/admin/password_change/", "/admin/auth/user/add/"]
    for app, model, table in (
        ("todos", "todo", "todos_todo"), ("todos", "deadletter", "todos_deadletter"), ("todos", "batch", "todos_batch"),
        ("todos", "partitionledger", "todos_partitionledger"), ("todos", "poller", "todos_poller"),
        ("todos", "pollrun", "todos_pollrun"),
        ("todos", "offsetloss", "todos_offsetloss"), ("auth", "user", "auth_user"), ("auth", "group", "auth_group"),
        ("django_celery_beat", "periodictask", "django_celery_beat_periodictask"),
        ("django_celery_beat", "intervalschedule", "django_celery_beat_intervalschedule"),
    ):  # fmt: skip
        found.append(f"/admin/{app}/{model}/")
        rows = stack.rows(f"SELECT id FROM {table} ORDER BY id LIMIT 2") if model != "poller" else []
        found += [f"/admin/{app}/{model}/{pk}/change/" for (pk,) in rows]
    return found


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1440, "dark")])
def test_every_page_fits_and_can_be_read(open_page: OpenPage, paths: list[str], width: int, theme: str) -> None:
    """WCAG AA contrast; no scrolling sideways, on a phone least of all."""
    page = open_page(width=width, theme=theme)
    wrong = {path: found for path in paths if (found := _wrong(page, path))}
    assert {} == wrong


def _wrong(page: Page, path: str) -> list[str]:
    answer = page.goto(path)
    assert answer is not None
    expect(page.locator("html:not([x-cloak])")).to_be_attached()
    return [
        *([] if answer.ok else [f"status {answer.status}"]),
        *([f"{too_wide} px too wide"] if (too_wide := overflow(page)) else []),
        *faint_texts(page),
    ]
