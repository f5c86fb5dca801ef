"""The pages of dead letters: inspect, edit, redrive, discard. Every change goes through todos.dead_letters.service."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html

from edge_api.contract import InvalidPayload
from todos.admin.base import (
    ChangeList,
    EstimatedList,
    EstimatingPaginator,
    PlainTextField,
    TabularInline,
    Textarea,
    label,
    with_newlines,
)
from todos.admin.dead_letter_actions import DeadLetterActions, actor
from todos.dead_letters import service as dead_letters
from todos.dead_letters.rendering import editable_json, printable, printable_headers
from todos.dead_letters.service import ActionRefused
from todos.ingest.parsing import headers_of
from todos.models import DeadLetter, DeadLetterEvent, Todo

ABOUT = ["reason", "detail", "state", "verdict", "todo"]
ORIGIN = ["topic", "partition", "offset", "created_at", "replays", "raw_key", "raw_value", "raw_headers"]
EDITABLE_BYTES = 256 * 1024  # far above any valid payload


class PayloadForm(forms.ModelForm):
    """Edits the payload that a redrive sends, and accepts only a valid one."""

    payload = PlainTextField(
        widget=Textarea(attrs={"rows": 12, "spellcheck": "false", "class": "todo-code"}),
        required=False,
        help_text="The JSON of the event TodoCreated that a redrive sends. It must be valid; the original stays too.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["payload"] = _editable(dead_letters.payload_of(self.instance))

    def clean_payload(self) -> str:
        payload: str = self.cleaned_data["payload"]
        if "payload" in self.changed_data:
            try:
                dead_letters.event_of(self.instance, payload.encode())
            except InvalidPayload as exc:
                raise forms.ValidationError([f"{field}: {message}" for field, message in exc.errors]) from exc
        return payload


class EventInline(TabularInline):
    """The history of a letter, in the order of its events."""

    model = DeadLetterEvent
    verbose_name_plural = "history"
    readonly_fields = ["at", "actor", "action", "note"]
    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return True  # the permission to view the letter is enough

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(DeadLetter)
class DeadLetterAdmin(DeadLetterActions):
    list_display = ["__str__", "state", "reason", "detail", "replays", "created_at", "changed_by", "changed_at"]
    list_filter = ["status", "reason", "created_at"]
    form = PayloadForm
    readonly_fields = [*ABOUT, *ORIGIN, "raw_payload"]
    inlines = [EventInline]
    change_form_template = "admin/todos/deadletter/change.html"
    paginator = EstimatingPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each facet would count the whole table

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        return super().get_queryset(request).defer("key", "value", "headers", "edited_value")  # up to 100 MiB a page

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: DeadLetter | None = None) -> bool:
        is_closed = obj is not None and obj.status != DeadLetter.Status.OPEN
        return not is_closed and super().has_change_permission(request, obj)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        payload = "payload" if self.has_change_permission(request, obj) else "raw_payload"
        return [(None, {"fields": [*ABOUT, payload]}), ("The original record", {"fields": ORIGIN})]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return EstimatedList

    # --- Fields

    @admin.display(description="status", ordering="status")
    def state(self, letter: DeadLetter) -> str:
        colours = {DeadLetter.Status.OPEN.value: "warning", DeadLetter.Status.REDRIVEN.value: "ok"}
        return label(letter.get_status_display(), colours.get(letter.status, ""))

    @admin.display(description="key")
    def raw_key(self, letter: DeadLetter) -> str:
        return _pre_bytes(letter.key)

    @admin.display(description="value")
    def raw_value(self, letter: DeadLetter) -> str:
        return _pre_bytes(letter.value)

    @admin.display(description="headers")
    def raw_headers(self, letter: DeadLetter) -> str:
        return _pre(printable_headers(headers_of(letter)))

    @admin.display(description="edited payload")
    def raw_payload(self, letter: DeadLetter) -> str:
        return _pre_bytes(letter.edited_value)

    @admin.display(description="redrive")
    def verdict(self, letter: DeadLetter) -> str:
        try:
            dead_letters.check_redrive(letter.pk)
        except ActionRefused as exc:
            return f"refused: {exc}"
        return "would be accepted"

    @admin.display(description="todo of the redrive")
    def todo(self, letter: DeadLetter) -> str:
        if letter.todo_id is None:
            return "none yet"
        if not Todo.objects.filter(id=letter.todo_id).exists():
            return f"{letter.todo_id}, not stored"
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:todos_todo_change", args=[letter.todo_id]), letter.todo_id
        )

    # --- Saving

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (ActionRefused, InvalidPayload) as exc:  # another operator changed the letter first
            self.message_user(request, f"Not saved. {exc}", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: DeadLetter, form: Any, change: bool) -> None:
        if "payload" in form.changed_data:
            dead_letters.edit(obj.pk, form.cleaned_data["payload"].encode(), by=actor(request))


def _editable(payload: bytes) -> str:
    return with_newlines(editable_json(payload)) if len(payload) <= EDITABLE_BYTES else ""


def _pre_bytes(data: bytes | memoryview | None) -> str:
    return format_html("{} bytes{}", f"{len(data):,}", _pre(printable(data))) if data is not None else "none"


def _pre(text: str) -> str:
    return format_html('<pre class="todo-bytes">{}</pre>', text)
