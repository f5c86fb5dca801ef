"""The pages of todos: find, edit, and trace to the record they came from."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from todos.admin.base import LogsFieldChanges, PlainTextField, Textarea, label
from todos.admin.todo_actions import TodoActions
from todos.admin.todo_list import DoneFilter, OwnerFilter, TodoList
from todos.models import Todo
from todos.monitoring.queries import batch_of
from todos.owners import username_of
from todos.validators import DESCRIPTION, TITLE, InvalidText, TextValidator


class TodoForm(forms.ModelForm):
    """Edits a todo by the contract's rules."""

    title = PlainTextField(widget=Textarea(attrs={"rows": 1}))  # a title may hold tabs and newlines
    description = PlainTextField(required=False)

    def clean_title(self) -> str:
        return self._cleaned_text("title", TITLE)

    def clean_description(self) -> str:
        return self._cleaned_text("description", DESCRIPTION)

    def _cleaned_text(self, name: str, validator: TextValidator) -> str:
        """Return the edited text, or the stored one, whose line ends no browser would send back unchanged."""
        if name not in self.changed_data:
            return str(self.initial[name])
        try:
            return validator.check(self.cleaned_data[name])
        except InvalidText as exc:
            raise forms.ValidationError(str(exc)) from exc


@admin.register(Todo)
class TodoAdmin(TodoActions, LogsFieldChanges):
    """The list and the page of a todo. There is no "add": todos come through the edge."""

    list_display = ["title", "done", "created_at", "stored_at", "owner_link", "position"]
    list_display_links = ["title", "position"]  # a title may have no visible character
    sortable_by = ()  # sorting by any other column would read the whole table
    form = TodoForm
    list_filter = [DoneFilter, OwnerFilter, "created_at"]
    date_hierarchy = "created_at"
    search_fields = ["title"]
    search_help_text = "Part of the title, or the whole id"
    readonly_fields = ["id", "created_at", "stored_at", "updated_at", "owner_name", "provenance", "request_id"]
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
    def owner_link(self, todo: Todo) -> str | None:
        if not todo.owner:
            return None
        return format_html('<a class="todo-link" href="?{}">{}</a>', urlencode({"owner": todo.owner}), todo.owner)

    @admin.display(description="owner")
    def owner_name(self, todo: Todo) -> str:
        if not todo.owner:
            return "none: created without a token"
        name = username_of(todo.owner)
        return f"{name} ({todo.owner})" if name else todo.owner

    @admin.display(description="partition / offset")
    def position(self, todo: Todo) -> str:
        return f"{todo.source_partition} / {todo.source_offset}"

    @admin.display(description="source")
    def provenance(self, todo: Todo) -> str:
        position = f"partition {todo.source_partition}, offset {todo.source_offset}"
        batch = batch_of(settings.KAFKA.topic, todo.source_partition, todo.source_offset)
        if batch is None:
            return f"{position}; its batch is no longer recorded"
        link = reverse("admin:todos_batch_change", args=[batch.pk])
        return format_html('{}; stored by batch <a class="todo-link" href="{}">{}</a>', position, link, batch)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Todo | None:
        """Lock the todo that a form saves: Django would insert it again if it was deleted meanwhile."""
        todo = super().get_object(request, object_id, from_field)
        return Todo.objects.select_for_update().filter(pk=todo.pk).first() if todo and request.POST else todo

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # No row refers to a todo, so nothing else is deleted with it.
        return [str(todo) for todo in objs], {"todos": len(objs)}, set(), []
