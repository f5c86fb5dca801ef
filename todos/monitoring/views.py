"""Health endpoints: the web process is alive, it can answer from the database, and todos flow."""

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from todos.monitoring.report import build_report


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
    """Answer every problem, with 503 if one of them needs an operator; docs/runbook.md says which do."""
    report = build_report()
    status = "unavailable" if report.needs_operator else "degraded" if report.problems else "ok"
    body = {"status": status, "problems": [problem.as_dict() for problem in report.problems]}
    return JsonResponse(body, status=503 if report.needs_operator else 200)
