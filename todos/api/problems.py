"""Errors of the API, in the same form as the edge's: application/problem+json (RFC 9457) with the fields at fault."""

import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from edge_api.contract import FieldError
from edge_api.shared.problems import MEDIA_TYPE, problem_body


def problem(
    status: HTTPStatus, detail: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Return a problem as Django's response, for code outside REST framework."""
    body = json.dumps(problem_body(status, detail, errors))
    return HttpResponse(body, content_type=MEDIA_TYPE, status=status, headers=dict(headers or {}))


def handle(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Return the problem for an exception of REST framework; None leaves any other exception to Django."""
    response = exception_handler(exc, context)
    if response is None:
        return None
    detail, errors = _explain(exc, response.data)
    response.data = problem_body(HTTPStatus(response.status_code), detail, errors)
    renderer = getattr(context["request"], "accepted_renderer", None)
    if getattr(renderer, "format", "") != "api":  # the browsable page stays HTML
        response.content_type = MEDIA_TYPE
    return response


def _explain(exc: Exception, data: Any) -> tuple[str, list[FieldError]]:
    if isinstance(exc, ValidationError):
        return "The request is not valid.", list(_flat(exc.detail))
    if isinstance(exc, ParseError):
        return "The body cannot be read.", [FieldError("body", str(exc.detail))]
    return str(data["detail"]), []


def _flat(detail: Any, path: str = "") -> Iterator[FieldError]:
    """Yield the errors that REST framework nests like the body, each with the dotted path of its field."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _flat(inner, path if name == "non_field_errors" else f"{path}.{name}".lstrip("."))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _flat(inner, path)
    else:
        yield FieldError(path or "body", str(detail))
