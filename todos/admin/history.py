"""The history of a page with values: not only which field was changed, but from what to what."""

from typing import Any

from django import forms
from django.http import HttpRequest

from todos.admin.base import ModelAdmin

LONGEST = 60


class TellsValues(ModelAdmin):
    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        message: Any = super().construct_change_message(request, form, formsets, add)
        for entry in message:
            if "changed" in entry and "name" not in entry["changed"]:  # a name is that of an inline's object
                entry["changed"]["fields"] = [_told(form, name) for name in form.changed_data]
        return message


def _told(form: forms.ModelForm, name: str) -> str:
    field = form.fields[name]
    before = form.get_initial_for_field(field, name)
    if isinstance(field, forms.ModelChoiceField):
        before = field.to_python(before)
    return f"{form[name].label}: {_short(before)} → {_short(form.cleaned_data[name])}"


def _short(value: Any) -> str:
    text = "nothing" if value in (None, "") else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
