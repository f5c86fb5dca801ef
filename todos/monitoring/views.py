"""Health endpoints: the web process is alive, it can answer from the database, and todos flow."""

import logging

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from todos.monitoring.overview import fetch_overview

logger = logging.getLogger(__name__)


@csrf_exempt  # so that a POST gets 405 and the allowed methods, not 403
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 while the process is alive; it checks none of the services it depends on."""
    return JsonResponse({"status": "ok"})


@csrf_exempt
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 503 while the database does not answer, since the API can serve nothing then."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM todos_todo LIMIT 1")
    except DatabaseError:
        connection.close()
        return JsonResponse({"status": "unavailable", "database": "unreachable or not migrated"}, status=503)
    return JsonResponse({"status": "ok", "database": "ok"})


@csrf_exempt
@require_safe
def readyz_pipeline(request: HttpRequest) -> JsonResponse:
    """Answer 503 while todos cannot flow, with the state of each component. Paused polling is no failure."""
    try:
        overview = fetch_overview()
    except DatabaseError as exc:
        logger.warning("the pipeline cannot be checked: %s", exc)
        connection.close()
        return JsonResponse({"status": "unavailable", "database": "unreachable or not migrated"}, status=503)
    status = "unavailable" if overview.failing else "ok"
    body = {"status": status} | {check.name.lower(): check.text for check in overview.checks}
    return JsonResponse(body, status=503 if overview.failing else 200)
