"""The WSGI application that todoproject.asgi runs in threads."""

import os
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

from edge_api.contract import FieldError
from todoproject.database_deadline import limit_statements

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "todoproject.settings")

limit_statements()
django = get_wsgi_application()

from todos.api.problems import problem  # noqa: E402 - Django has to be set up


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with Django, or with 415 to a charset other than UTF-8.

    Django would decode query and form in any charset that Content-Type names. In some of them an unpaired surrogate
    can be written, which PostgreSQL cannot store, so that a wrong password would not be counted. A name that is no
    charset fails before any middleware.
    """
    if _charset(environ.get("CONTENT_TYPE", "")) in {"utf-8", "utf8"}:
        return django(environ, start_response)
    errors = [FieldError("Content-Type", "its charset must be utf-8")]
    response = problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Only UTF-8 is read.", errors=errors)
    start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
    return [response.content]


def _charset(content_type: str) -> str:
    """Return the charset in small letters; empty for a header that cannot be parsed."""
    try:
        return str(parse_header_parameters(content_type)[1].get("charset", "utf-8")).lower()
    except ValueError:
        return ""
