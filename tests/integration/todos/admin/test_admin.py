"""The operators' pages: they open, they search, and what must not be edited cannot be."""

import json
import re
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks
from pytest_django import DjangoCaptureOnCommitCallbacks

from edge_api.contract import DESCRIPTION_MAX, TITLE_MAX
from tests.support.todos import make_todos
from todos.admin import base
from todos.models import Batch, DeadLetter, OffsetLoss, PartitionLedger, Poller, Todo
from todos.operations.schedules import POLL_SCHEDULE, TRIM_SCHEDULE, create_default_schedules, interval_of

pytestmark = pytest.mark.django_db
TODOS = "/admin/todos/todo/"


@pytest.fixture
def admin(admin_client: Client) -> Client:
    return admin_client


def test_strangers_are_sent_to_the_login(client: Client) -> None:
    response = client.get(TODOS)
    assert (response.status_code, response.headers["location"]) == (302, f"/admin/login/?next={TODOS}")


def test_every_list_and_every_row_opens(admin: Client) -> None:
    make_todos(1)
    create_default_schedules()
    rows = [
        Todo.objects.get(),
        PeriodicTask.objects.get(name=POLL_SCHEDULE),
        PartitionLedger.objects.create(topic="t", partition=0, holder=UUID(int=1)),
        Poller.objects.create(id=UUID(int=1), topic="t", worker="w", expires_at="2026-01-01T00:00:00Z"),
        OffsetLoss.objects.create(topic="t", partition=0, first_offset=0, next_offset=2),
        Batch.objects.create(topic="t", partition=0, generation=0, next_offset=2),
        DeadLetter.objects.create(topic="t", partition=0, offset=1, reason="invalid", detail="d", value=b"\xff"),
    ]
    for row in rows:
        path = f"/admin/{row._meta.app_label}/{row._meta.model_name}/"
        assert admin.get(path).status_code == 200, path
        assert admin.get(f"{path}{row.pk}/change/").status_code == 200, path


def test_todos_are_found_by_title_and_by_id(admin: Client) -> None:
    todos = make_todos(12)
    by_title = admin.get(TODOS, {"q": "todo 11"}).context["cl"].result_list
    by_id = admin.get(TODOS, {"q": f" {todos[3].id} "}).context["cl"].result_list

    assert [todo.title for todo in by_title] == ["todo 11"]
    assert [todo.title for todo in by_id] == ["todo 3"]


def test_a_todo_can_be_edited_and_deleted_but_not_added(admin: Client) -> None:
    (todo,) = make_todos(1)
    admin.post(f"{TODOS}{todo.id}/change/", {"title": "edited", "description": "", "is_done": "on"})
    assert Todo.objects.values_list("title", "is_done").get() == ("edited", True)

    assert admin.get(f"{TODOS}add/").status_code == 403
    admin.post(TODOS, {"action": "delete_selected", "_selected_action": [todo.id], "post": "yes"})
    assert not Todo.objects.exists()


def browse(admin: Client, todo: Todo) -> dict[str, str]:
    """What a browser would send to save the todo unchanged: every end of line is CR LF."""
    form = admin.get(f"{TODOS}{todo.id}/change/").context["adminform"].form
    texts = {name: form[name].value().replace("\r\n", "\n").replace("\r", "\n") for name in ("title", "description")}
    return {name: text.replace("\n", "\r\n") for name, text in texts.items()}


@pytest.mark.parametrize(
    ("title", "description"),
    [
        ("a\tb\nc", " two\n lines \n"),
        ("a\r\nb\rc", "\r\n\r"),
        ("\x1fa\x1f", "\n" * DESCRIPTION_MAX),
        ("a\n" * 127 + "b", ""),
    ],
)
def test_ticking_done_changes_nothing_else(admin: Client, title: str, description: str) -> None:
    (todo,) = make_todos(1)
    Todo.objects.update(title=title, description=description)

    response = admin.post(f"{TODOS}{todo.id}/change/", browse(admin, todo) | {"is_done": "on"})

    assert response.status_code == 302
    assert Todo.objects.values_list("title", "description", "is_done").get() == (title, description, True)


@pytest.mark.parametrize(
    ("change", "stored"),
    [
        ({"description": " a\r\nb "}, ("todo 0", " a\nb ")),
        ({"description": "x\r\n" * (DESCRIPTION_MAX // 2)}, ("todo 0", "x\n" * (DESCRIPTION_MAX // 2))),
        ({"title": " a\r\nb\r\n"}, ("a\nb", "")),
        ({"title": "x" * (TITLE_MAX + 1)}, None),
        ({"title": " "}, None),
        ({"title": ""}, None),
        ({"title": "a\0b"}, None),
        ({"description": "x" * (DESCRIPTION_MAX + 1)}, None),
    ],
)
def test_edited_texts_follow_the_contract(
    admin: Client, change: dict[str, str], stored: tuple[str, str] | None
) -> None:
    (todo,) = make_todos(1)
    response = admin.post(f"{TODOS}{todo.id}/change/", browse(admin, todo) | change)

    assert response.status_code == (302 if stored else 200)
    assert Todo.objects.values_list("title", "description").get() == (stored or ("todo 0", ""))


def test_a_todo_without_a_visible_title_can_be_opened(admin: Client) -> None:
    (todo,) = make_todos(1)
    Todo.objects.update(title="\u200b")
    assert re.search(rf"<a [^>]*{todo.id}/change/[^>]*>\s*0 / 0\s*</a>", admin.get(TODOS).content.decode())


@pytest.mark.parametrize("model", ["partitionledger", "deadletter", "offsetloss", "poller", "batch"])
def test_what_the_ingest_keeps_is_read_only(admin: Client, model: str) -> None:
    row = PartitionLedger.objects.create(topic="t", partition=0)
    assert admin.get(f"/admin/todos/{model}/add/").status_code == 403
    assert admin.post(f"/admin/todos/partitionledger/{row.pk}/change/", {"next_offset": 5}).status_code == 403
    assert admin.post(f"/admin/todos/partitionledger/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert PartitionLedger.objects.get().next_offset == 0


def test_a_dead_letter_is_shown_safely(admin: Client) -> None:
    letter = DeadLetter.objects.create(
        topic="t", partition=0, offset=1, reason="invalid", detail="<b>bad</b>",
        value=b"<script>alert(1)</script>\xff\x00\x1b[2J", headers=[["h<i>", "AAE="]],
    )  # fmt: skip
    page = admin.get(f"/admin/todos/deadletter/{letter.pk}/change/").content.decode()

    assert "31 bytes<pre" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\xff\\x00\\x1b[2J" in page
    assert "h&lt;i&gt;: \\x00\\x01" in page
    assert "<script>alert(1)" not in page
    assert "<b>bad" not in page


def test_the_date_hierarchy_lists_the_periods_that_have_todos() -> None:
    make_todos(3, apart=timedelta(days=400))  # 2026-01-01, 2027-02-05, 2028-03-11

    def periods(kind: str) -> list[str]:
        return [f"{moment:%Y-%m-%d}" for moment in Todo.objects.all().datetimes("created_at", kind)]  # type: ignore[arg-type]

    assert periods("year") == ["2026-01-01", "2027-01-01", "2028-01-01"]
    assert periods("month") == ["2026-01-01", "2027-02-01", "2028-03-01"]
    assert periods("day") == ["2026-01-01", "2027-02-05", "2028-03-11"]


@pytest.mark.parametrize("params", [{}, {"created_at__year": 2026}, {"created_at__year": 2026, "created_at__month": 1}])
def test_the_date_hierarchy_opens_at_every_level(admin: Client, params: dict[str, int]) -> None:
    make_todos(3, apart=timedelta(days=20))
    assert admin.get(TODOS, params).status_code == 200


def test_a_long_list_is_estimated_not_counted(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_EXACT_COUNT", 5)
    for offset in range(9):
        DeadLetter.objects.create(topic="t", partition=0, offset=offset, reason="invalid", detail="d", value=b"")
    letters = "/admin/todos/deadletter/"
    with connection.cursor() as cursor:  # an earlier test may have analysed the table, which no rollback undoes
        cursor.execute("UPDATE pg_class SET reltuples = -1 WHERE oid = 'todos_deadletter'::regclass")
    assert admin.get(letters).context["cl"].result_count == 6  # never analysed: at least this many
    assert admin.get(letters, {"status__exact": "open"}).context["cl"].result_count == 5


@pytest.fixture
def schedule_form(admin: Client) -> dict[str, str]:
    """What a browser would send to save the poll schedule unchanged."""
    create_default_schedules()
    task = PeriodicTask.objects.get(name=POLL_SCHEDULE)
    initial = (
        admin.get(f"/admin/django_celery_beat/periodictask/{task.pk}/change/?all=1").context["adminform"].form.initial
    )
    form = {name: str(value) for name, value in initial.items() if value not in (None, False)}
    return form | {"task": task.task, "regtask": ""}


def save(admin: Client, form: dict[str, str]) -> str:
    """The form's errors as text; empty when it was saved."""
    task = PeriodicTask.objects.get(name=form["name"])
    response = admin.post(f"/admin/django_celery_beat/periodictask/{task.pk}/change/?all=1", form)
    return "" if response.status_code == 302 else str(response.context["adminform"].form.errors)


def test_an_edited_schedule_is_saved_and_beat_is_told(
    admin: Client, schedule_form: dict[str, str], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    before = PeriodicTasks.last_change()
    assert save(admin, schedule_form | {"kwargs": '{"max_records": 10}'}) == ""
    assert json.loads(PeriodicTask.objects.get(name=POLL_SCHEDULE).kwargs) == {"max_records": 10}
    assert PeriodicTasks.last_change() != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kwargs": '{"max_records": 0}'}, "max_records: input should be greater than or equal to 1"),
        ({"kwargs": '{"max_records": 50001}'}, "max_records: input should be less than or equal to 50000"),
        ({"kwargs": '{"timeout_ms": "soon"}'}, "timeout_ms: input should be a valid integer"),
        ({"kwargs": '{"timeout_ms": 99}'}, "timeout_ms: input should be greater than or equal to 100"),
        ({"kwargs": '{"time_budget_seconds": 61}'}, "time_budget_seconds: input should be less than or equal to 60"),
        ({"kwargs": '{"max_record": 5}'}, "max_record: unknown; known are timeout_ms, max_records, time_budget"),
        ({"kwargs": '{"keep_days": 3}'}, "keep_days: unknown"),
        ({"kwargs": "[1]"}, "kwargs: input should be"),
        ({"kwargs": "{"}, "Unable to parse JSON"),
        ({"kwargs": "[" * 20_000}, "nested too deeply"),
        ({"args": "[" * 20_000}, "nested too deeply"),
        ({"args": "[5]"}, "This task takes keyword arguments only."),
    ],
)
def test_nonsense_in_a_schedule_is_refused_with_the_reason(
    admin: Client, schedule_form: dict[str, str], change: dict[str, str], message: str
) -> None:
    before = list(PeriodicTask.objects.values("args", "kwargs"))

    assert message in save(admin, schedule_form | change)
    assert list(PeriodicTask.objects.values("args", "kwargs")) == before


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ('{"keep_days": 1}', ""),
        ('{"keep_days": 0}', "keep_days: input should be greater than or equal to 1"),
        ('{"max_records": 5}', "max_records: unknown; known are keep_days"),
    ],
)
def test_the_trims_schedule_is_checked_likewise(
    admin: Client, schedule_form: dict[str, str], kwargs: str, message: str
) -> None:
    trim = PeriodicTask.objects.get(name=TRIM_SCHEDULE)
    form = schedule_form | {"name": trim.name, "task": trim.task, "interval": str(trim.interval_id), "kwargs": kwargs}

    errors = save(admin, form)

    assert message in errors
    assert bool(message) == bool(errors)


def test_a_schedule_may_not_tick_more_than_once_a_second(admin: Client, schedule_form: dict[str, str]) -> None:
    intervals = {
        every: IntervalSchedule.objects.create(every=every, period=IntervalSchedule.MICROSECONDS)
        for every in (999_999, 1_000_000)
    }
    assert "must be at least 1 second" in save(admin, schedule_form | {"interval": str(intervals[999_999].pk)})
    assert save(admin, schedule_form | {"interval": str(intervals[1_000_000].pk)}) == ""


def test_nor_after_an_edit_of_its_interval(admin: Client, schedule_form: dict[str, str]) -> None:
    path = f"/admin/django_celery_beat/intervalschedule/{schedule_form['interval']}/change/"
    inline = {f"periodictask_set-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL")}

    refused = admin.post(path, inline | {"every": "1", "period": "microseconds"})
    assert "must be at least 1 second" in refused.content.decode()
    assert IntervalSchedule.objects.get(pk=schedule_form["interval"]).period == IntervalSchedule.SECONDS

    assert admin.post(path, inline | {"every": "2", "period": "seconds"}).status_code == 302


def test_an_interval_that_no_date_can_hold_is_refused(admin: Client) -> None:
    path = "/admin/django_celery_beat/intervalschedule/add/"
    inline = {f"periodictask_set-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL")}

    refused = admin.post(path, inline | {"every": str(2**31 - 1), "period": "days"})

    assert "must be at most 100 years" in refused.content.decode()
    assert not IntervalSchedule.objects.filter(period=IntervalSchedule.DAYS).exists()


def test_an_operator_without_rights_sees_nothing(client: Client) -> None:
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert client.get(TODOS).status_code == 403


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "os.system"}, "Must be todos.tasks.poll_todos or todos.tasks.trim_batches."),
        ({"task": "celery.map"}, "Must be todos.tasks.poll_todos or todos.tasks.trim_batches."),
        ({"task": ""}, "Need name of task"),
        ({"regtask": "celery.map", "task": ""}, "Need name of task"),
        ({"queue": "other"}, "Must be empty. Workers read the queue poll alone."),
        ({"exchange": "other"}, "Must be empty. Workers read the queue poll alone."),
        ({"routing_key": "other"}, "Must be empty. Workers read the queue poll alone."),
        ({"headers": '{"celery_beat_task": false}'}, "Must be {}."),
        ({"headers": "["}, "Must be {}."),
        ({"headers": "[]"}, "Must be {}."),
        ({"args": "{}"}, "This task takes keyword arguments only."),
    ],
)
def test_a_schedule_sends_nothing_but_what_workers_run(
    admin: Client, schedule_form: dict[str, str], change: dict[str, str], message: str
) -> None:
    before = list(PeriodicTask.objects.values())
    assert message in save(admin, schedule_form | change)
    assert before == list(PeriodicTask.objects.values())


def test_the_tasks_of_a_schedule_are_a_choice(admin: Client, schedule_form: dict[str, str]) -> None:
    page = admin.get("/admin/django_celery_beat/periodictask/add/")
    (_, *choices) = page.context["adminform"].form.fields["task"].widget.choices
    assert {"todos.tasks.poll_todos", "todos.tasks.trim_batches"} == {name for name, _ in choices}
    assert 'name="regtask"' not in page.content.decode()


def test_what_was_stored_by_other_means_is_not_sent_by_hand(admin: Client) -> None:
    task = PeriodicTask.objects.create(name="other", task="os.system", interval=interval_of(5))
    response = admin.post(f"/admin/django_celery_beat/periodictask/{task.pk}/act/", {"act": "run"}, follow=True)
    (message,) = map(str, response.context["messages"])
    assert message.startswith("Not sent: other. task: Must be todos.tasks.poll_todos or")
