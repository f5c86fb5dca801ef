"""The actions on many todos: mark, delete, export. They work in chunks, so that they can take the whole list."""

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
from todos.admin.todo_list import TodoList, TodoQuery, read_chunks
from todos.models import Todo
from todos.selectors import SearchRefused
from todos.transfer.exports import COLUMNS, Row, csv_lines, json_lines

MAX_SECONDS = 20.0  # of one request; the operator repeats the action for the todos that are left
MAX_LISTED = 20  # on the page that asks before a deletion
LINES_AT_ONCE = 500


class TodoActions(ModelAdmin):
    """The actions of the list. "Select all" means the whole filtered list, not only the page."""

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
            "todos": todos[: MAX_LISTED + 1],
            "max_listed": MAX_LISTED,
            "is_all": request.POST.get("select_across") == "1",
            "selected": request.POST.getlist("_selected_action"),
        }
        return TemplateResponse(request, "admin/todos/todo/delete.html", context)

    def _in_chunks(
        self, request: HttpRequest, todos: QuerySet[Todo], action: Callable[[list[Todo]], int], flag: int, done: str
    ) -> None:
        """Apply the action to each chunk in a transaction of its own, until MAX_SECONDS are over or a search fails.

        The log has the count of what was changed, even if an error ends it.
        """
        deadline, query, count, stopped = time.monotonic() + MAX_SECONDS, self._query(request, todos), 0, ""
        try:
            for chunk in read_chunks(query):
                if time.monotonic() > deadline:
                    stopped = f"Stopped after {MAX_SECONDS:g} s. Repeat the action for the todos that are left."
                    break
                if chunk:
                    with transaction.atomic():
                        _lock(chunk)
                        changed = action(chunk)
                    count += changed
        except SearchRefused as exc:
            stopped = f"Stopped early: {exc}"
        finally:
            text = f"{count:,} todos {done}." if count != 1 else f"1 todo {done}."
            LogEntry.objects.create(
                user_id=request.user.pk or 0, content_type=ContentType.objects.get_for_model(Todo), action_flag=flag,
                object_repr=f"{count:,} todos", change_message=text,
            )  # fmt: skip
        self.message_user(request, text, messages.SUCCESS)
        if stopped:
            self.message_user(request, stopped, messages.WARNING)

    def _query(self, request: HttpRequest, todos: QuerySet[Todo]) -> TodoQuery:
        """Return the selected todos, or the whole list after "select all"."""
        if request.POST.get("select_across") != "1":
            return TodoQuery(todos)
        todo_list: TodoList = self.get_changelist_instance(request)
        return todo_list.todo_query

    # --- Export

    @admin.action(description="Export as CSV", permissions=["view"])
    def export_csv(self, request: HttpRequest, todos: QuerySet[Todo]) -> StreamingHttpResponse:
        return _download(csv_lines(_rows(self._query(request, todos))), "text/csv; charset=utf-8", "todos.csv")

    @admin.action(description="Export as JSON Lines", permissions=["view"])
    def export_json_lines(self, request: HttpRequest, todos: QuerySet[Todo]) -> StreamingHttpResponse:
        return _download(json_lines(_rows(self._query(request, todos))), "application/jsonl", "todos.jsonl")


def _lock(chunk: list[Todo]) -> None:
    """Lock the rows in the order of their keys, as the API does: two changes of many todos cannot deadlock."""
    rows = Todo.objects.filter(pk__in=[todo.pk for todo in chunk]).order_by("pk")
    list(rows.select_for_update().values_list("pk"))


def _delete(chunk: list[Todo]) -> int:
    # No row refers to a todo, so Django need not look for any.
    return Todo.objects.filter(pk__in=[todo.pk for todo in chunk])._raw_delete(using="default")


def _rows(query: TodoQuery) -> Iterator[Row]:
    """Yield rows chunk by chunk, so that the database works only as fast as the client downloads.

    Raises SearchTooSlow, which ends the connection before the end of the file, so that no part passes for the whole.
    """
    return (Row._make(getattr(todo, name) for name in COLUMNS) for chunk in read_chunks(query) for todo in chunk)


def _download(lines: Iterator[str], content_type: str, name: str) -> StreamingHttpResponse:
    """Return a streamed file, in blocks of lines: each block costs one write to the network."""
    blocks = iter(lambda: "".join(islice(lines, LINES_AT_ONCE)), "")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(blocks, content_type=content_type, headers=headers)
