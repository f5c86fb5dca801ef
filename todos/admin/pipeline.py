"""The admin's first page: the state of the pipeline, updated every few seconds while the page is visible."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from todos.models import DeadLetter
from todos.monitoring.report import build_report

PANELS = "admin/todos/pipeline/panels.html"


def urls() -> list[URLPattern]:
    """Return the additional URLs of the site."""
    return [path("pipeline/", admin.site.admin_view(panels), name="pipeline")]


def add_panels(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the panels to the first page. Users who may not view the ledger get the list of their pages instead."""
    return context | (_panels() if _may_view(request) else {})


@never_cache
@require_safe
def panels(request: HttpRequest) -> HttpResponse:
    """Return the panels alone, for the page's script. Raises PermissionDenied."""
    if not _may_view(request):
        raise PermissionDenied
    return render(request, PANELS, _panels())


def _may_view(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("todos.view_partitionledger"))


def _panels() -> dict[str, Any]:
    report = build_report()
    if report.overview is None:
        return {"report": report}
    now, reasons = report.overview, dict(DeadLetter.Reason.choices)
    return {
        "overview": now,
        "report": report,
        "largest_lag": max((partition.lag or 0 for partition in now.status.partitions), default=0),
        "letters": [(reason, reasons.get(reason, reason), count) for reason, count in now.dead_letters.items()],
        "schedule_id": next(iter(now.schedule.names), None),
    }
