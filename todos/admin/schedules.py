"""django-celery-beat's own admin, with one thing more: the kwargs of our tasks are checked for their meaning."""

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django_celery_beat.admin import PeriodicTaskAdmin, PeriodicTaskForm
from django_celery_beat.models import PeriodicTask

from todos.options import InvalidOptions, Options
from todos.schedules import TASK_OPTIONS


class CheckedPeriodicTaskForm(PeriodicTaskForm):  # type: ignore[misc]
    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean()
        if (options := TASK_OPTIONS.get(data.get("task", ""))) and not self.errors:
            self._check(data, options)
        return data

    def _check(self, data: dict[str, Any], options: type[Options]) -> None:
        kwargs = json.loads(data["kwargs"] or "{}")
        try:
            options.parse(kwargs)
        except InvalidOptions as exc:
            raise ValidationError({"kwargs": str(exc)}) from exc
        if json.loads(data["args"] or "[]"):
            raise ValidationError({"args": "This task takes keyword arguments only."})


admin.site.unregister(PeriodicTask)


@admin.register(PeriodicTask)
class CheckedPeriodicTaskAdmin(PeriodicTaskAdmin):  # type: ignore[misc]
    form = CheckedPeriodicTaskForm
