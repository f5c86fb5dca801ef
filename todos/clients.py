"""Which client a request is from: one answer for the limits of the API and of signing in."""

import threading
from contextlib import suppress
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle

from edge_api.shared.addresses import client_network

if TYPE_CHECKING:  # it reads the settings that name the class below
    from rest_framework.views import APIView

UNKNOWN = "::"
_counting = threading.Lock()


def client_address(request: HttpRequest) -> str:
    """Return the client's address; for IPv6 the first of its /64, because a client usually has the whole network.

    Behind a proxy it is the last address of X-Forwarded-For, which the proxy added. The client can invent the others.
    """
    forwarded = request.headers.get("X-Forwarded-For", "") if settings.BEHIND_PROXY else ""
    for text in (forwarded.rpartition(",")[2].strip(), request.META.get("REMOTE_ADDR", "")):
        with suppress(ValueError):
            client = client_network(text)
            return str(client.network_address if isinstance(client, IPv6Network) else client)
    return UNKNOWN


class ClientThrottle(UserRateThrottle):
    """Limits the requests of an owner or, without sign-in, of a client's address."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        with _counting:  # the cache reads and writes a client's history in two steps
            return super().allow_request(request, view)

    def get_ident(self, request: Request) -> str:
        return client_address(request._request)
