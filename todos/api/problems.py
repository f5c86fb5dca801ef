"""Every error of the API in the edge's form: application/problem+json (RFC 9457) with the fields at fault."""

import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from edge_api.contract import FieldError

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20  # as at the edge: the first ones are enough to mend a body


class PreconditionFailed(APIException):
    status_code = HTTPStatus.PRECONDITION_FAILED
    default_detail = "The todo has changed: its ETag is not in If-Match any more. Read it again."


def problem(
    status: HTTPStatus, detail: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
) -> HttpResponse:
    body = json.dumps(_members(status, detail, errors))
    return HttpResponse(body, content_type=MEDIA_TYPE, status=status, headers=dict(headers or {}))


def handle(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Of REST framework's; what it does not know goes on to Django."""
    response = exception_handler(exc, context)
    if response is None:
        return None
    detail, errors = _explain(exc, response.data)
    response.data = _members(HTTPStatus(response.status_code), detail, errors)
    renderer = getattr(context["request"], "accepted_renderer", None)
    if getattr(renderer, "format", "") != "api":  # which is a page for people
        response.content_type = MEDIA_TYPE
    return response


def _members(status: HTTPStatus, detail: str, errors: Sequence[FieldError]) -> dict[str, Any]:
    shown = [error._asdict() for error in errors[:MAX_ERRORS]]
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "errors": shown,
    }


def _explain(exc: Exception, data: Any) -> tuple[str, list[FieldError]]:
    if isinstance(exc, ValidationError):
        return "The request is not valid.", list(_flat(exc.detail))
    if isinstance(exc, ParseError):
        return "The body cannot be read.", [FieldError("body", str(exc.detail))]
    return str(data["detail"]), []


def _flat(detail: Any, path: str = "") -> Iterator[FieldError]:
    """REST framework nests as the body does; a field is a dotted path, or "body" for the whole of it."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _flat(inner, path if name == "non_field_errors" else f"{path}.{name}".lstrip("."))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _flat(inner, path)
    else:
        yield FieldError(path or "body", str(detail))
