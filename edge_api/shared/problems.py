"""The body of every error response of both services: application/problem+json (RFC 9457) with the fields at fault."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2  # after a 503 response
MAX_ERRORS = 20  # a hostile body can hold thousands of unknown fields; the first ones are enough to fix it

MAX_NAME_LENGTH = 100  # characters of a field's name

Errors = Sequence[tuple[str, str]]  # of a field and what is wrong with it: edge_api.contract.FieldError


def problem_body(status: HTTPStatus, detail: str, errors: Errors = ()) -> dict[str, Any]:
    """Return the members of a problem, ready for JSON; only the first MAX_ERRORS of `errors` are shown."""
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "errors": shown_errors(errors),
    }


def shown_errors(errors: Errors) -> list[dict[str, str]]:
    """Return the first MAX_ERRORS as JSON objects. The names of fields are the client's own, and may be long."""
    return [{"field": field[:MAX_NAME_LENGTH], "message": message} for field, message in errors[:MAX_ERRORS]]
