from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from todos.admin.base import ModelAdmin, Textarea
from todos.admin.fields import PlainTextField
from todos.admin.paginator import EstimatingPaginator
from todos.models import Todo
from todos.text import DESCRIPTION, TITLE, InvalidText, Text


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
class TodoAdmin(ModelAdmin):
    """Todos come through the edge, so there is no "add" here."""

    list_display = ["title", "is_done", "created_at", "stored_at", "position"]
    list_display_links = ["title", "position"]  # a title may be invisible
    form = TodoForm
    list_filter = ["is_done", "created_at"]
    date_hierarchy = "created_at"
    search_fields = ["title"]
    search_help_text = "A part of the title, or a whole id."
    readonly_fields = ["id", "created_at", "stored_at", "updated_at", "position"]
    fields = ["title", "description", "is_done", *readonly_fields]
    list_per_page = 50
    paginator = EstimatingPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each facet would count the whole table

    @admin.display(description="partition / offset")
    def position(self, todo: Todo) -> str:
        return f"{todo.source_partition} / {todo.source_offset}"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Todo], search_term: str
    ) -> tuple[QuerySet[Todo], bool]:
        try:
            return queryset.filter(pk=UUID(search_term.strip())), False
        except ValueError:
            return super().get_search_results(request, queryset, search_term)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Nothing refers to a todo, so the tree of what goes with it is the list itself.
        return [str(todo) for todo in objs], {"todos": len(objs)}, set(), []
