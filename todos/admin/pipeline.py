"""The admin's first page: how the pipeline does, kept up to date while somebody looks."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from todos.models import DeadLetter
from todos.monitoring.overview import fetch_overview

PANELS = "admin/todos/pipeline/panels.html"


def urls() -> list[URLPattern]:
    return [path("pipeline/", admin.site.admin_view(panels), name="pipeline")]


def add_panels(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Who may not see the ledger finds the list of what they may see."""
    return context | (_panels() if _may_look(request) else {})


@never_cache
@require_safe
def panels(request: HttpRequest) -> HttpResponse:
    """The panels alone, for the script of the page."""
    if not _may_look(request):
        raise PermissionDenied
    return render(request, PANELS, _panels())


def _may_look(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("todos.view_partitionledger"))


def _panels() -> dict[str, Any]:
    now = fetch_overview()
    reasons = dict(DeadLetter.Reason.choices)
    return {
        "overview": now,
        "largest_lag": max((partition.lag or 0 for partition in now.status.partitions), default=0),
        "letters": [(reason, reasons.get(reason, reason), count) for reason, count in now.dead_letters.items()],
        "schedule_id": next(iter(now.schedule.names), None),
    }
