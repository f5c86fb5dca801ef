"""Todos: found, edited, and traced to where they came from."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from todos.admin.base import Textarea, label
from todos.admin.fields import PlainTextField
from todos.admin.history import TellsValues
from todos.admin.todo_actions import TodoActions
from todos.admin.todo_list import DoneFilter, OwnerFilter, TodoList, name_of
from todos.models import Todo
from todos.monitoring.queries import batch_of
from todos.validators import DESCRIPTION, TITLE, InvalidText, Text


class TodoForm(forms.ModelForm):
    title = PlainTextField(widget=Textarea(attrs={"rows": 1}))  # a title may hold tabs and newlines
    description = PlainTextField(required=False)

    def clean_title(self) -> str:
        return self._text("title", TITLE)

    def clean_description(self) -> str:
        return self._text("description", DESCRIPTION)

    def _text(self, name: str, text: Text) -> str:
        """What was not edited stays as it is, with ends of line that no browser sends."""
        if name not in self.changed_data:
            return str(self.initial[name])
        try:
            return text.check(self.cleaned_data[name])
        except InvalidText as exc:
            raise forms.ValidationError(str(exc)) from exc


@admin.register(Todo)
class TodoAdmin(TodoActions, TellsValues):
    """Todos come through the edge, so there is no "add" here."""

    list_display = ["title", "done", "created_at", "stored_at", "of", "position"]
    list_display_links = ["title", "position"]  # a title may be invisible
    sortable_by = ()  # by any other column the whole table would have to be sorted
    form = TodoForm
    list_filter = [DoneFilter, OwnerFilter, "created_at"]
    date_hierarchy = "created_at"
    search_fields = ["title"]
    search_help_text = "A part of the title, or a whole id"
    readonly_fields = ["id", "created_at", "stored_at", "updated_at", "whose", "provenance", "request_id"]
    fields = ["title", "description", "is_done", *readonly_fields]
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each facet would count the whole table

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TodoList]:
        return TodoList

    @admin.display(description="done", empty_value="")
    def done(self, todo: Todo) -> str | None:
        return label("done", "ok") if todo.is_done else None

    @admin.display(description="owner", empty_value="")
    def of(self, todo: Todo) -> str | None:
        if not todo.owner:
            return None
        return format_html('<a class="todo-link" href="?{}">{}</a>', urlencode({"owner": todo.owner}), todo.owner)

    @admin.display(description="owner")
    def whose(self, todo: Todo) -> str:
        if not todo.owner:
            return "nobody; made without signing in"
        name = name_of(todo.owner)
        return f"{name} ({todo.owner})" if name else todo.owner

    @admin.display(description="partition / offset")
    def position(self, todo: Todo) -> str:
        return f"{todo.source_partition} / {todo.source_offset}"

    @admin.display(description="came from")
    def provenance(self, todo: Todo) -> str:
        where = f"partition {todo.source_partition}, offset {todo.source_offset}"
        batch = batch_of(settings.KAFKA.topic, todo.source_partition, todo.source_offset)
        if batch is None:
            return f"{where}; its batch is forgotten"
        link = reverse("admin:todos_batch_change", args=[batch.pk])
        return format_html('{}; stored by the batch <a class="todo-link" href="{}">{}</a>', where, link, batch)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Nothing refers to a todo, so the tree of what goes with it is the list itself.
        return [str(todo) for todo in objs], {"todos": len(objs)}, set(), []
