"""django-celery-beat's own admin, with one thing more: the kwargs of a poll are checked for their meaning."""

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django_celery_beat.admin import PeriodicTaskAdmin, PeriodicTaskForm
from django_celery_beat.models import PeriodicTask

from todos.options import InvalidOptions, PollOptions
from todos.schedules import POLL_TASK


class CheckedPeriodicTaskForm(PeriodicTaskForm):  # type: ignore[misc]
    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean()
        if data.get("task") == POLL_TASK and not self.errors:
            self._check_poll(data)
        return data

    def _check_poll(self, data: dict[str, Any]) -> None:
        kwargs = json.loads(data["kwargs"] or "{}")
        try:
            PollOptions.parse(kwargs)
        except InvalidOptions as exc:
            raise ValidationError({"kwargs": str(exc)}) from exc
        if json.loads(data["args"] or "[]"):
            raise ValidationError({"args": "A poll takes keyword arguments only."})


admin.site.unregister(PeriodicTask)


@admin.register(PeriodicTask)
class CheckedPeriodicTaskAdmin(PeriodicTaskAdmin):  # type: ignore[misc]
    form = CheckedPeriodicTaskForm
