"""What several pages share: checked parameters, the theme's classes, estimated counts, plain text, and history."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.core.paginator import Paginator
from django.db import DataError, connection, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html

if TYPE_CHECKING:  # the theme's classes have no types
    from django.contrib.admin import ModelAdmin as ThemedAdmin
    from django.contrib.admin import TabularInline
    from django.contrib.admin.views.main import ChangeList
    from django.contrib.admin.widgets import AdminTextareaWidget as Textarea
else:
    from unfold.admin import ModelAdmin as ThemedAdmin
    from unfold.admin import TabularInline
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


# --- Parameters


class InvalidParameters(Exception):
    """Raised for a list that cannot be shown with the parameters of its URL."""


class ModelAdmin(ThemedAdmin):
    """The pages of a model. Parameters that no page of the admin sends are refused with a message.

    Django takes any lookup of a field from a list's URL, such as a regular expression, and leaves it to the database to
    fail. Every model is registered with a subclass.
    """

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow what the list's own filters and its date hierarchy send."""
        return lookup in self._declared_lookups(request)

    def _declared_lookups(self, request: HttpRequest) -> set[str]:
        sent = ("", "__exact", "__id__exact", "__isnull", "__gte", "__lt")
        lookups = {f"{self.date_hierarchy}__{part}" for part in ("year", "month", "day", "gte", "lt")}
        for declared in self.get_list_filter(request):
            if isinstance(declared, type) and issubclass(declared, SimpleListFilter):
                lookups.add(str(declared.parameter_name))
            else:
                lookups |= {f"{declared}{lookup}" for lookup in sent}
        return lookups

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        try:
            with transaction.atomic():  # which can continue after an error of the database
                return super().get_changelist_instance(request)
        # psycopg2 raises ValueError for U+0000. Years and offsets that are out of range raise it too, or the last two.
        except (IncorrectLookupParameters, SuspiciousOperation, ValueError, OverflowError, DataError) as exc:
            raise InvalidParameters from exc

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        try:
            return super().changelist_view(request, extra_context)
        except InvalidParameters:
            context = {**self.admin_site.each_context(request), "title": "The list cannot be shown", "opts": self.opts}
            return TemplateResponse(request, "admin/todos/invalid_parameters.html", context, status=400)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *args: Any) -> HttpResponse | None:
        """Run an action. Refuses selected values that are no primary keys."""
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.opts.pk.to_python(key)
            except ValidationError:
                self.message_user(request, "Nothing was changed. Select rows of this list.", messages.ERROR)
                return None
        return super().response_action(request, queryset, *args)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the row, or None. An empty _to_field, on which Django fails, is none."""
        return super().get_object(request, object_id, from_field or None)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Take no initial values from the URL: widgets fail on values of another type, and no page sends any."""
        return {}


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
