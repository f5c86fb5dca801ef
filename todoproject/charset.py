"""Everything is UTF-8: Django would read a request's query and form in whatever charset its Content-Type names.

In some of them an unpaired surrogate can be written, which PostgreSQL cannot store, so that a wrong password would not
be counted; others are no charset at all, and fail before any middleware.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from django.utils.http import parse_header_parameters

from edge_api.contract import FieldError
from todos.api.problems import problem

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
UTF8 = {"utf-8", "utf8"}


def utf8_only(application: Application) -> Application:
    """Answers 415 to any other charset."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _charset(environ.get("CONTENT_TYPE", "")) in UTF8:
            return application(environ, start_response)
        errors = [FieldError("Content-Type", "its charset must be utf-8")]
        answer = problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Only UTF-8 is read.", errors=errors)
        start_response(f"{answer.status_code} {answer.reason_phrase}", list(answer.items()))
        return [answer.content]

    return guarded


def _charset(content_type: str) -> str:
    """Empty for a header that cannot be read."""
    try:
        return str(parse_header_parameters(content_type)[1].get("charset", "utf-8")).lower()
    except ValueError:
        return ""
