"""Strong ETags and conditional requests (RFC 9110, section 13): an editor never overwrites an unseen change."""

import hashlib
from http import HTTPStatus
from typing import Any

from django.utils.http import parse_etags
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response


class PreconditionFailed(APIException):
    status_code = HTTPStatus.PRECONDITION_FAILED
    default_detail = "The todo has changed: If-Match does not contain its ETag. Read it again."


def etag_of(data: Any) -> str:
    """Return the ETag of a serialized todo, which changes with its content and with nothing else."""
    return f'"{hashlib.sha256(JSONRenderer().render(data)).hexdigest()[:32]}"'


def with_etag(response: Response) -> Response:
    """Add the ETag of its data to a response."""
    response["ETag"] = etag_of(response.data)
    return response


def not_modified_or(response: Response, request: Request) -> Response:
    """Return a 304 if the request's If-None-Match contains the response's ETag, else the response with its ETag."""
    if request.accepted_renderer.format != "json":
        return response  # the browsable page shows more than the todo
    known = [tag.removeprefix("W/") for tag in parse_etags(request.headers.get("If-None-Match", ""))]
    tag = with_etag(response)["ETag"]
    return (
        Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag}) if tag in known or known == ["*"] else response
    )


def require_if_match(request: Request, data: Any) -> None:
    """Raise PreconditionFailed if the request has an If-Match without the ETag of `data`.

    `data` is the todo as it is stored, and locked until the change is. An unreadable header matches nothing.
    """
    if_match = request.headers.get("If-Match")
    if if_match is not None and parse_etags(if_match) != ["*"] and etag_of(data) not in parse_etags(if_match):
        raise PreconditionFailed
