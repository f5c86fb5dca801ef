"""Strong ETags: two editors who send If-Match never overwrite each other unnoticed (RFC 9110, section 13)."""

import hashlib
from typing import Any

from django.utils.http import parse_etags
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from todos.api.problems import PreconditionFailed


def etag_of(data: Any) -> str:
    """Of all that is shown, so that whatever changes a todo changes it, and nothing else does."""
    return f'"{hashlib.sha256(JSONRenderer().render(data)).hexdigest()[:32]}"'


def tagged(response: Response) -> Response:
    response["ETag"] = etag_of(response.data)
    return response


def unless_known(request: Request, response: Response) -> Response:
    """304 where If-None-Match holds what the client would get."""
    if request.accepted_renderer.format != "json":
        return response  # the page for people shows more than the todo
    known = [tag.removeprefix("W/") for tag in parse_etags(request.headers.get("If-None-Match", ""))]
    tag = tagged(response)["ETag"]
    return Response(status=304, headers={"ETag": tag}) if tag in known or known == ["*"] else response


def check_match(request: Request, data: Any) -> None:
    """`data` as it is stored at this moment, and locked. A header that cannot be read matches nothing."""
    asked = request.headers.get("If-Match")
    if asked is not None and parse_etags(asked) != ["*"] and etag_of(data) not in parse_etags(asked):
        raise PreconditionFailed
