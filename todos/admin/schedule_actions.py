"""Pause, resume, run now and forecast: the buttons of a schedule's page, and the actions of the list."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST, require_safe
from django_celery_beat.models import PeriodicTask

from todos.admin.base import ModelAdmin
from todos.admin.tuning import PollNumbersForm
from todos.monitoring.forecast import forecast, measure_speed
from todos.monitoring.lag import annotated_ledgers
from todos.monitoring.probes import services
from todos.operations.schedules import BrokerUnavailable, UnusableSchedule, run_now, switch

PAGE = "admin:django_celery_beat_periodictask_change"


class ScheduleActions(ModelAdmin):
    """Replaces django-celery-beat's actions of the same names by ones that log and report each change.

    Its action "toggle" is left out: it does not report what it switched.
    """

    actions = ["enable_tasks", "disable_tasks", "run_tasks"]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("forecast/", view(self.forecast_view), name="todos_forecast"),
            path("<int:pk>/act/", view(self.act_view), name="todos_schedule_act"),
            *super().get_urls(),
        ]

    # --- Buttons

    def act_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return require_POST(self._act)(request, pk)

    def _act(self, request: HttpRequest, pk: int) -> HttpResponse:
        task = get_object_or_404(PeriodicTask, pk=pk)
        if not self.has_change_permission(request, task):
            raise PermissionDenied
        actions = {"pause": self.disable_tasks, "resume": self.enable_tasks, "run": self.run_tasks}
        if (action := actions.get(request.POST.get("act", ""))) is None:
            return HttpResponseBadRequest("act must be pause, resume or run")
        action(request, PeriodicTask.objects.filter(pk=pk))
        origin = reverse("admin:index") if "home" in request.POST else reverse(PAGE, args=[pk])
        return HttpResponseRedirect(origin)

    @admin.action(description="Resume", permissions=["change"])
    def enable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._switch(request, queryset, enabled=True, done="Resumed")

    @admin.action(description="Pause", permissions=["change"])
    def disable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._switch(request, queryset, enabled=False, done="Paused")

    def _switch(self, request: HttpRequest, tasks: QuerySet[PeriodicTask], *, enabled: bool, done: str) -> None:
        switched = list(tasks.exclude(enabled=enabled))
        switch(tasks, enabled=enabled)
        for task in switched:
            self.log_change(request, task, f"{done}.")
            self.message_user(request, f"{done}: {task.name}. Beat applies it within 10 s.", messages.SUCCESS)
        if not switched:
            self.message_user(request, f"Already {done.lower()}. Nothing changed.", messages.INFO)

    @admin.action(description="Run now", permissions=["change"])
    def run_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        for task in queryset:
            try:
                run_now(task)
            except UnusableSchedule as exc:
                self.message_user(request, f"Not sent: {task.name}. {exc}", messages.ERROR)
                continue
            except BrokerUnavailable as exc:
                self.message_user(request, f"Not sent: {task.name}. {exc}", messages.ERROR)
                return
            self.log_change(request, task, "Sent once by hand.")
            self.message_user(request, f"Sent: {task.name}. A free worker runs it now.", messages.SUCCESS)

    # --- Forecast

    def forecast_view(self, request: HttpRequest) -> HttpResponse:
        return require_safe(self._forecast)(request)

    def _forecast(self, request: HttpRequest) -> HttpResponse:
        """Return the forecast for the values in the query string, which need be neither saved nor valid."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = PollNumbersForm(request.GET)
        context: dict[str, Any] = {"is_valid": form.is_valid()}
        if context["is_valid"]:
            context["forecast"] = _forecast_of(form)
        return render(request, "admin/todos/schedule/forecast.html", context)


def _forecast_of(form: PollNumbersForm) -> Any:
    topic = settings.KAFKA.topic
    positions = {row.partition: row.next_offset for row in annotated_ledgers(topic)}
    kafka, _ = services().results(services().start(positions))
    spans = kafka.value.log.ranges if kafka.value else {}
    return forecast(
        measure_speed(topic),
        form.options(),
        every_seconds=form.cleaned_data["every_seconds"],
        partitions=len(spans) or len(positions) or None,
        arriving=kafka.value.accepted_per_minute[900] if kafka.value else None,
        lag=sum(max(span.end - positions.get(p, 0), 0) for p, span in spans.items()) if kafka.value else None,
    )
