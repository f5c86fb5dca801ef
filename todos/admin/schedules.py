"""The pages of schedules: django-celery-beat's, with checked kwargs, a form for tuning polls, and buttons."""

import json
from typing import Any

from celery.schedules import ParseException
from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django_celery_beat.admin import (
    ClockedScheduleAdmin,
    CrontabScheduleAdmin,
    IntervalScheduleAdmin,
    PeriodicTaskAdmin,
    PeriodicTaskForm,
    PeriodicTaskInline,
    SolarScheduleAdmin,
)
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.widgets import UnfoldAdminSelectWidget

from todos.admin.base import LogsFieldChanges, ModelAdmin, TabularInline
from todos.admin.schedule_actions import ScheduleActions
from todos.admin.tuning import FIELDS, PollTuningForm, is_tunable
from todos.bounds import FOREVER_SECONDS, interval_seconds
from todos.ingest.options import InvalidOptions, Options
from todos.operations.schedules import TASK_OPTIONS, clear_pauses, faults_of

CHECKED = ("task", "queue", "exchange", "routing_key", "args", "headers")  # kwargs are checked with their options
TASK_CHOICES = [("", ""), *((name, name) for name in TASK_OPTIONS)]
TOO_OFTEN = "The interval must be at least 1 second. Below 1 second beat would flood the queue with ticks."

TOO_LONG = "The interval must be at most 100 years. Beat stops at one that no date can hold, whichever task uses it."


class CheckedPeriodicTaskForm(PeriodicTaskForm):  # type: ignore[misc]
    """Accepts only what a worker can run: this project's tasks, with their options, at most once a second."""

    regtask = None
    # Not a ChoiceField, whose error would leave out the task that PeriodicTaskForm.clean() reads.
    task = forms.CharField(max_length=200, required=False, widget=UnfoldAdminSelectWidget(choices=TASK_CHOICES))

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean()
        for field, message in faults_of(PeriodicTask(**{name: data.get(name) or "" for name in CHECKED})).items():
            self.add_error(field, message)
        if not self.errors:
            self._check(data, TASK_OPTIONS[data["task"]])
        return data

    def _clean_json(self, field: str) -> Any:
        try:
            return super()._clean_json(field)
        except RecursionError:
            raise ValidationError("Unable to parse JSON: nested too deeply") from None

    def _check(self, data: dict[str, Any], options: type[Options]) -> None:
        try:
            options.parse(json.loads(data["kwargs"] or "{}"))
        except InvalidOptions as exc:
            raise ValidationError({"kwargs": str(exc)}) from exc
        if (interval := data.get("interval")) and _is_too_often(interval):
            raise ValidationError({"interval": TOO_OFTEN})


class CheckedIntervalForm(forms.ModelForm):
    """Refuses an interval that is too long, or too short for a task of this project that uses it."""

    def clean(self) -> dict[str, Any] | None:
        data = super().clean()
        if not self.errors and interval_seconds(IntervalSchedule(**self.cleaned_data)) > FOREVER_SECONDS:
            raise ValidationError(TOO_LONG)
        if not self.errors and _is_too_often(IntervalSchedule(**self.cleaned_data)):
            users = PeriodicTask.objects.filter(interval_id=self.instance.pk, task__in=TASK_OPTIONS)
            if self.instance.pk and users.exists():
                raise ValidationError(TOO_OFTEN)
        return data


def _is_too_often(interval: IntervalSchedule) -> bool:
    return interval_seconds(interval) < 1


class ThemedInline(PeriodicTaskInline, TabularInline):  # type: ignore[misc]
    pass


admin.site.unregister([PeriodicTask, IntervalSchedule, CrontabSchedule, ClockedSchedule, SolarSchedule])


@admin.register(PeriodicTask)
class CheckedPeriodicTaskAdmin(ScheduleActions, PeriodicTaskAdmin, LogsFieldChanges):  # type: ignore[misc]
    form = CheckedPeriodicTaskForm
    change_form_template = "admin/todos/schedule/change.html"
    list_display = ["name", "enabled", "scheduler", "last_run_at"]
    list_filter = ["enabled", "task"]
    date_hierarchy = None

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if self._is_tuned(request, obj):
            kwargs["form"] = PollTuningForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if self._is_tuned(request, obj):
            return [(None, {"fields": FIELDS})]
        return [
            (title, options | {"fields": [name for name in options["fields"] if name != "regtask"]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def save_model(self, request: HttpRequest, obj: PeriodicTask, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.enabled:
            clear_pauses([obj.pk])

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        task = self.get_object(request, object_id) if object_id else None
        context = {"task": task, "is_poll": is_tunable(task), "is_tuned": self._is_tuned(request, task)}
        return super().changeform_view(request, object_id, form_url, (extra_context or {}) | context)

    def _is_tuned(self, request: HttpRequest, task: PeriodicTask | None) -> bool:
        """Whether the page shows the tuning form; users who may only view it see every field as it is stored."""
        return "all" not in request.GET and is_tunable(task) and self.has_change_permission(request, task)


@admin.register(IntervalSchedule)
class CheckedIntervalScheduleAdmin(IntervalScheduleAdmin, LogsFieldChanges):  # type: ignore[misc]
    form = CheckedIntervalForm
    inlines = [ThemedInline]


@admin.register(CrontabSchedule)
class ThemedCrontabAdmin(CrontabScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    inlines = [ThemedInline]

    @admin.display(description="human readable")
    def human_readable(self, crontab: CrontabSchedule) -> str:
        try:
            return str(crontab.human_readable)
        except ParseException as exc:  # of a form that is shown with its errors
            return f"not a crontab: {exc}"


@admin.register(ClockedSchedule)
class ThemedClockedAdmin(ClockedScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    inlines = [ThemedInline]


@admin.register(SolarSchedule)
class ThemedSolarAdmin(SolarScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    inlines = [ThemedInline]
