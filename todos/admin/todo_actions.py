"""What is done to many todos: marked, deleted, exported. In chunks, so that the whole list may be meant."""

import time
from collections.abc import Callable, Iterator
from itertools import islice

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse

from todos.admin.base import ModelAdmin
from todos.admin.todo_list import Sought, TodoList, each_chunk
from todos.models import Todo
from todos.transfer.exports import COLUMNS, Row, csv_lines, json_lines

MAX_SECONDS = 20.0  # of one request; what is left then takes another one
SHOWN = 20
LINES_AT_ONCE = 500


class TodoActions(ModelAdmin):
    actions = ["mark_done", "mark_not_done", "export_csv", "export_json_lines", "delete_selected"]

    @admin.action(description="Mark done", permissions=["change"])
    def mark_done(self, request: HttpRequest, todos: QuerySet[Todo]) -> None:
        self._mark(request, todos, is_done=True)

    @admin.action(description="Mark not done", permissions=["change"])
    def mark_not_done(self, request: HttpRequest, todos: QuerySet[Todo]) -> None:
        self._mark(request, todos, is_done=False)

    def _mark(self, request: HttpRequest, todos: QuerySet[Todo], *, is_done: bool) -> None:
        def mark(chunk: list[Todo]) -> int:
            ids = [todo.pk for todo in chunk if todo.is_done is not is_done]
            return Todo.objects.filter(pk__in=ids).update(is_done=is_done, updated_at=Now())

        self._in_chunks(request, todos, mark, CHANGE, f"marked {'done' if is_done else 'not done'}")

    @admin.action(description="Delete…", permissions=["delete"])
    def delete_selected(self, request: HttpRequest, todos: QuerySet[Todo]) -> HttpResponse | None:
        if request.POST.get("post"):
            self._in_chunks(request, todos, _delete, DELETION, "deleted")
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": "Delete todos",
            "opts": self.opts,
            "todos": todos[: SHOWN + 1],
            "shown": SHOWN,
            "is_all": request.POST.get("select_across") == "1",
            "selected": request.POST.getlist("_selected_action"),
        }
        return TemplateResponse(request, "admin/todos/todo/delete.html", context)

    def _in_chunks(
        self, request: HttpRequest, todos: QuerySet[Todo], act: Callable[[list[Todo]], int], flag: int, done: str
    ) -> None:
        deadline, count, is_over = time.monotonic() + MAX_SECONDS, 0, True
        for chunk in each_chunk(self._sought(request, todos)):
            if time.monotonic() > deadline:
                is_over = False
                break
            if chunk:
                with transaction.atomic():
                    count += act(chunk)
        text = f"{count:,} todos {done}." if count != 1 else f"1 todo {done}."
        LogEntry.objects.create(
            user_id=request.user.pk or 0, content_type=ContentType.objects.get_for_model(Todo), action_flag=flag,
            object_repr=f"{count:,} todos", change_message=text,
        )  # fmt: skip
        self.message_user(request, text, messages.SUCCESS)
        if not is_over:
            self.message_user(request, f"More are left after {MAX_SECONDS:g} s: do it again.", messages.WARNING)

    def _sought(self, request: HttpRequest, todos: QuerySet[Todo]) -> Sought:
        """`todos`, or where the whole list is meant, the list as its pages find it."""
        if request.POST.get("select_across") != "1":
            return Sought(todos)
        listed: TodoList = self.get_changelist_instance(request)  # type: ignore[assignment]
        return listed.sought

    # --- Export

    @admin.action(description="Export as CSV", permissions=["view"])
    def export_csv(self, request: HttpRequest, todos: QuerySet[Todo]) -> StreamingHttpResponse:
        return _download(csv_lines(_rows(self._sought(request, todos))), "text/csv; charset=utf-8", "todos.csv")

    @admin.action(description="Export as JSON Lines", permissions=["view"])
    def export_json_lines(self, request: HttpRequest, todos: QuerySet[Todo]) -> StreamingHttpResponse:
        return _download(json_lines(_rows(self._sought(request, todos))), "application/jsonl", "todos.jsonl")


def _delete(chunk: list[Todo]) -> int:
    # Nothing refers to a todo, so there is nothing to collect.
    return Todo.objects.filter(pk__in=[todo.pk for todo in chunk])._raw_delete(using="default")


def _rows(sought: Sought) -> Iterator[Row]:
    """In chunks, so that the database works only while somebody downloads."""
    return (Row._make(getattr(todo, name) for name in COLUMNS) for chunk in each_chunk(sought) for todo in chunk)


def _download(lines: Iterator[str], content_type: str, name: str) -> StreamingHttpResponse:
    """In blocks of lines: each of them costs a call to the network."""
    blocks = iter(lambda: "".join(islice(lines, LINES_AT_ONCE)), "")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(blocks, content_type=content_type, headers=headers)
