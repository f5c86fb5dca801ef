"""Tell django-axes the address of a client, and answer clients that it has locked out for wrong passwords."""

from contextlib import suppress
from http import HTTPStatus
from ipaddress import IPv6Network
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from edge_api.shared.addresses import client_network
from todos.api.problems import problem


def client_address(request: HttpRequest) -> str | None:
    """Return the client's address; for IPv6 the first of its /64, because a client usually has the whole network.

    Behind a proxy it is the last address of X-Forwarded-For, which the proxy added. The client can invent the others.
    """
    forwarded = request.headers.get("X-Forwarded-For", "") if settings.BEHIND_PROXY else ""
    for text in (forwarded.rpartition(",")[2].strip(), request.META.get("REMOTE_ADDR", "")):
        with suppress(ValueError):
            client = client_network(text)
            return str(client.network_address if isinstance(client, IPv6Network) else client)
    return None


def locked_out(request: HttpRequest, _response: HttpResponse | None = None, _credentials: Any = None) -> HttpResponse:
    """Answer 429 with Retry-After."""
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    status, headers = HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(minutes * 60)}
    if not request.path.startswith("/api/"):
        return HttpResponse(render_to_string("locked_out.html", {"minutes": minutes}), status=status, headers=headers)
    detail = f"Too many attempts with wrong passwords; try again in {minutes} minutes."
    return problem(status, detail, headers=headers)
