"""Probes of the web process: alive, and able to answer from the database."""

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe


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
