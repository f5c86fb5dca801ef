"""What several pages share: the theme's classes, estimated counts, fields for plain text, and a history with values."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

if TYPE_CHECKING:  # the theme's classes have no types
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.contrib.admin.views.main import ChangeList
    from django.contrib.admin.widgets import AdminTextareaWidget as Textarea
else:
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.views import ChangeList
    from unfold.widgets import UnfoldAdminTextareaWidget as Textarea

__all__ = [
    "ChangeList",
    "EstimatedList",
    "EstimatingPaginator",
    "LogsFieldChanges",
    "ModelAdmin",
    "PlainTextField",
    "TabularInline",
    "Textarea",
    "label",
    "with_newlines",
]

MAX_EXACT_COUNT = 10_000
MAX_LOGGED_LENGTH = 60


def label(text: str, state: str) -> str:
    """Return the text as a coloured label; `state` is ok, warning, bad or empty."""
    return format_html('<span class="todo-label {}">{}</span>', state, text)


# --- Lists of large tables


class EstimatingPaginator(Paginator):
    """Counts at most 10,000 rows. Beyond, a plain list shows PostgreSQL's estimate, and a filtered list ends there."""

    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        exact = self.object_list[: MAX_EXACT_COUNT + 1].count()
        if exact <= MAX_EXACT_COUNT:
            return int(exact)
        if self.object_list.query.where:
            return MAX_EXACT_COUNT
        return max(_estimated_rows(self.object_list.model._meta.db_table), exact)


def _estimated_rows(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [table])
        return int(cursor.fetchone()[0])


class EstimatedList(ChangeList):
    """A list without the link "Show all", whose number would be an estimate."""

    def get_results(self, request: HttpRequest) -> Any:
        super().get_results(request)
        self.full_result_count = self.result_count


# --- Plain text in forms


class PlainTextField(forms.CharField):
    """A text field that keeps white space. Browsers send every line end as CR LF; that alone is not an edit."""

    widget = Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)

    def to_python(self, value: Any) -> str:
        return with_newlines(str(super().to_python(value)))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(with_newlines(initial or ""), data)


def with_newlines(text: str) -> str:
    """Return the text with LF as its only line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


# --- History


class LogsFieldChanges(ModelAdmin):
    """Logs the old and the new value of each changed field in the page's history, not only the field's name."""

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        message: Any = super().construct_change_message(request, form, formsets, add)
        for entry in message:
            if "changed" in entry and "name" not in entry["changed"]:  # entries with a name are those of inlines
                entry["changed"]["fields"] = [_field_change(form, name) for name in form.changed_data]
        return message


def _field_change(form: forms.ModelForm, name: str) -> str:
    field = form.fields[name]
    before = form.get_initial_for_field(field, name)
    if isinstance(field, forms.ModelChoiceField):
        before = field.to_python(before)
    return f"{form[name].label}: {_shortened(before)} → {_shortened(form.cleaned_data[name])}"


def _shortened(value: Any) -> str:
    text = "nothing" if value in (None, "") else str(value)
    return text if len(text) <= MAX_LOGGED_LENGTH else f"{text[:MAX_LOGGED_LENGTH]}…"
