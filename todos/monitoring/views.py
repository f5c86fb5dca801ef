"""Probes: the web process is alive, it can answer from the database, and todos flow."""

import logging

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from todos.monitoring.overview import overview

logger = logging.getLogger(__name__)


@csrf_exempt  # so that a POST is told which methods there are
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers; says nothing of what it depends on."""
    return JsonResponse({"status": "ok"})


@csrf_exempt
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """503 while the database does not answer: the API can serve nothing then."""
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
    """503 while todos cannot flow: each part with what is wrong. Polling that somebody paused is no fault."""
    try:
        now = overview()
    except DatabaseError as exc:
        logger.warning("cannot tell how the pipeline does: %s", exc)
        connection.close()
        return JsonResponse({"status": "unavailable", "database": "unreachable or not migrated"}, status=503)
    body = {"status": "unavailable" if now.faults else "ok"} | {part.name.lower(): part.text for part in now.parts}
    return JsonResponse(body, status=503 if now.faults else 200)
