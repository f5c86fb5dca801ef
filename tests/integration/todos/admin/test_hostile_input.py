"""Every page of the admin, asked with parameters and form values that no browser sends: an error, never a failure.

Each page gets some of the values for each name, drawn by a seed of its own, so that all pages together get all of them.
"""

from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from random import Random
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from tests.support.todos import make_todos
from tests.support.tokens import PASSWORD
from todos.ledger.leases import ensure_ledger
from todos.models import DeadLetter, LogDivergence, OffsetLoss, Poller, PollRun, Todo
from todos.operations.schedules import create_default_schedules

pytestmark = pytest.mark.django_db
VALUES = [
    "", "\0", "(((", "xyz", "-1", "9" * 30, "9" * 5000, "9999-12-31 23:59:59Z", "0001-01-01T00:00:00+23:59", "a,b",
    "\udced\udca0\udc80",  # as bytes, half of a surrogate pair
]  # fmt: skip
LIST = [
    "q", "p", "o", "e", "all", "_facets", "_popup", "_to_field", "_changelist_filters", "pk", "id__regex", "id__in",
    "nothing__x", "__", "owner", "done", "title__regex", "created_at__year", "created_at__gte", "user__password",
]  # fmt: skip
PAGE = ["_popup", "_to_field", "_changelist_filters", "all", "username", "clocked_time", "expires", "groups"]
ACT = ["action", "_selected_action", "index", "select_across", "because", "path", "value", "post"]
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
CRON = {"minute": "*", "hour": "*", "day_of_month": "*", "month_of_year": "*", "day_of_week": "*", "timezone": "UTC"}
VALID: dict[type[Model], dict[str, str]] = {
    User: {"username": "new", "password1": PASSWORD, "password2": PASSWORD},
    Group: {"name": "new"},
    CrontabSchedule: CRON,
    ClockedSchedule: {"clocked_time_0": "2026-01-01", "clocked_time_1": "00:00:00"},
    SolarSchedule: {"event": "sunset", "latitude": "2", "longitude": "2"},
    IntervalSchedule: {"every": "77", "period": "seconds"},
    PeriodicTask: {"name": "new", "task": "todos.tasks.trim_batches", "kwargs": "{}"},
}
Answers = Iterator[tuple[str, Any]]


class Fields(HTMLParser):
    """The fields of a page's forms, with the values that a browser would send."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        name, value = attributes.get("name") or "", attributes.get("value") or ""
        if tag == "input" and name and attributes.get("type") not in {"submit", "checkbox", "radio"}:
            self.values[name] = value
        elif tag in {"select", "textarea"} and name:
            self._open, self.values[name] = name, ""
        elif tag == "option" and self._open and "selected" in attributes:
            self.values[self._open] = value

    def handle_endtag(self, tag: str) -> None:
        if tag in {"select", "textarea"}:
            self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.values[self._open] = self.values[self._open] or data.removeprefix("\n")


class Stranger:
    """A client that draws values for names, and notes each answer that is a failure."""

    def __init__(self, client: Client, seed: str, count: int) -> None:
        client.raise_request_exception = False
        self._client, self._dice, self._count = client, Random(seed), count
        self.failures: list[str] = []

    def get(self, url: str) -> str:
        return self._judge(url, self._client.get(url))

    def post(self, url: str, form: dict[str, Any]) -> None:
        body = urlencode(form, doseq=True, errors="surrogateescape")
        self._judge(f"{url} {form}", self._client.post(url, body, "application/x-www-form-urlencoded"))

    def get_each(self, url: str, names: Iterable[str]) -> None:
        for name in names:
            for value in self._draw():
                self.get(f"{url}?{name}={quote(value, errors='surrogateescape')}")

    def post_each(self, url: str, valid: dict[str, Any], names: Iterable[str]) -> None:
        for name in names:
            for value in self._draw():
                self.post(url, valid | {name: value})

    def post_form(self, url: str, valid: dict[str, str]) -> None:
        """Send the page's form with one value after the other instead of a valid one."""
        form = Fields(self.get(url)).values | valid
        assert valid.keys() <= form.keys()
        self.post_each(url, form, [*form, "_to_field", "_popup"])

    def path_parts(self) -> list[str]:
        return [quote(value, errors="surrogateescape") for value in self._draw() if value]

    def _draw(self) -> list[str]:
        return self._dice.sample(VALUES, self._count)

    def _judge(self, asked: str, response: Any) -> str:
        if response.status_code >= 500:
            self.failures.append(f"{asked[:200]}: {getattr(response, 'exc_info', ('', ''))[:2]}")
        return "" if response.streaming else response.content.decode()


def page(model: type[Model], name: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


@pytest.fixture
def rows() -> dict[type[Model], Model]:
    """The first row of each table."""
    create_default_schedules()
    ensure_ledger("t", [0])
    make_todos(1)
    where: dict[str, Any] = {"topic": "t", "partition": 0}
    counts = dict.fromkeys(("batches", "stored", "duplicates", "dead_letters", "lost", "failures"), 0)
    moment = "2026-01-01T00:00:00Z"
    User.objects.create_user("olga")
    Group.objects.create(name="g")
    CrontabSchedule.objects.create()
    ClockedSchedule.objects.create(clocked_time=moment)
    SolarSchedule.objects.create(event="sunrise", latitude=1, longitude=1)
    DeadLetter.objects.create(**where, offset=0, reason="invalid", detail="d", value=b"{}")
    Poller.objects.create(id=UUID(int=1), topic="t", worker="w", expires_at=moment)
    PollRun.objects.create(topic="t", worker="w", started_at=moment, **counts)
    OffsetLoss.objects.create(**where, first_offset=0, next_offset=1)
    LogDivergence.objects.create(**where, generation=0, first_offset=0, next_offset=1)
    return {model: model._default_manager.all()[0] for model in MODELS}  # a batch is made with the ledger


@pytest.fixture(autouse=True)
def _no_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about Kafka, which does not run; do not wait for it."""
    monkeypatch.setattr("todos.kafka.admin.ADMIN_TIMEOUT_MS", 1)


@pytest.fixture(params=["superuser", "viewer", "nobody"])
def who(request: pytest.FixtureRequest) -> User:
    user = User.objects.create_user("staff", is_staff=True, is_superuser=request.param == "superuser")
    if request.param == "viewer":
        user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return user


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_list_fails(client: Client, rows: dict[type[Model], Model], who: User, model: type[Model]) -> None:
    client.force_login(who)
    stranger = Stranger(client, model._meta.label, count=2 if who.is_superuser else 1)
    filters = [str(getattr(one, "parameter_name", one)) for one in admin.site._registry[model].list_filter]
    names = [name + lookup for name in filters for lookup in ("", "__exact", "__gte")]
    stranger.get_each(page(model, "changelist"), [*LIST, *names])
    for action in [*map(str, admin.site._registry[model].actions or []), "delete_selected"]:
        selected = {"action": action, "_selected_action": [rows[model].pk]}
        stranger.post_each(page(model, "changelist"), selected, ACT)
    assert [] == stranger.failures


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_page_of_a_row_fails(client: Client, rows: dict[type[Model], Model], who: User, model: type[Model]) -> None:
    client.force_login(who)
    stranger, known = Stranger(client, model._meta.label, count=1), rows[model].pk
    for name in ("change", "delete", "history"):
        stranger.get_each(page(model, name, known), PAGE)
        for key in Stranger(client, name, count=6).path_parts():
            url = page(model, name, "KEY").replace("KEY", key)
            stranger.get(url)
            stranger.post(url, {"post": "yes"})
    stranger.get_each(page(model, "add"), PAGE)
    assert [] == stranger.failures


@pytest.mark.parametrize("model", [*VALID, Todo, DeadLetter], ids=lambda model: model._meta.label)
def test_no_form_fails(admin_client: Client, rows: dict[type[Model], Model], model: type[Model]) -> None:
    stranger = Stranger(admin_client, model._meta.label, count=2)
    if model in VALID:
        stranger.post_form(page(model, "add"), VALID[model])
    stranger.post_form(page(model, "change", rows[model].pk), {})
    stranger.get(page(model, "changelist"))  # with what was added
    assert [] == stranger.failures


def test_no_other_page_fails(client: Client, rows: dict[type[Model], Model], who: User) -> None:
    client.force_login(who)
    stranger = Stranger(client, "other", count=len(VALUES))
    task, todo = rows[PeriodicTask].pk, ContentType.objects.get_for_model(Todo).pk
    for value in stranger.path_parts():
        for path in (
            f"r/{todo}/{value}/", f"r/{value}/{value}/", f"{value}/", f"todos/{value}/", f"auth/user/{value}/password/",
            f"autocomplete/?term={value}&app_label=auth&model_name=user&field_name=groups", f"?next={value}",
            f"search/?s=todo&page={value}", f"search/?s={value}&extended=1", f"jsi18n/?language={value}",
            f"django_celery_beat/periodictask/forecast/?every_seconds={value}&max_records={value}",
            f"django_celery_beat/periodictask/{value}/act/", f"password_change/?next={value}", f"pipeline/?e={value}",
        ):  # fmt: skip
            stranger.get(f"/admin/{path}")
    stranger.post_each(f"/admin/django_celery_beat/periodictask/{task}/act/", {"act": "jump"}, ["act", "home"])
    passwords = dict.fromkeys(("old_password", "new_password1", "new_password2"), "x")
    stranger.post_each("/admin/password_change/", passwords, passwords)
    stranger.post_each(f"/admin/auth/user/{rows[User].pk}/password/", {"password2": "x"}, ["password1"])
    assert [] == stranger.failures


@pytest.mark.parametrize(
    ("query", "shown"),
    [("?owner=%00", "owner = "), ("?title__regex=(((", "title__regex = ((("), ("?p=-1", "p = -1"),
     ("?created_at__gte=nonsense", "created_at__gte = nonsense"), ("?created_at__year=9999", "created_at__year = 9999"),
     ("?e=1&p=x", "p = x")],
)  # fmt: skip
def test_a_list_that_cannot_be_shown_says_why(admin_client: Client, query: str, shown: str) -> None:
    response = admin_client.get(f"/admin/todos/todo/{query}")
    assert 400 == response.status_code
    assert "This list has no such filter, page or value" in (content := response.content.decode())
    assert shown in content


def test_an_action_on_what_is_no_row_is_refused(admin_client: Client) -> None:
    form = {"action": "mark_done", "_selected_action": ["xyz"]}
    response = admin_client.post("/admin/todos/todo/", form, follow=True)
    assert ["Nothing was changed. Select rows of this list."] == [str(one) for one in response.context["messages"]]


@pytest.mark.parametrize("cookie", ["sessionid", "csrftoken", "messages"])
def test_a_cookie_with_a_null_character_is_none(client: Client, cookie: str) -> None:
    client.cookies.load({cookie: "x" * 20 + "\0"})
    assert 302 == client.get("/admin/").status_code
