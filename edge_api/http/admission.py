"""What a request passes before its body is looked into: limits, token, Idempotency-Key, body, cost, deadline."""

import time
from typing import NamedTuple

from starlette.types import Receive, Scope

from edge_api.auth.authentication import Auth
from edge_api.http.body import BodyReader
from edge_api.http.headers import parse_idempotency_key
from edge_api.limits.rate_limit import RateLimits
from edge_api.observability.metrics import Metrics
from edge_api.problems import outcome_of
from edge_api.settings import LONGEST_WAIT_SECONDS


class AdmittedRequest(NamedTuple):
    """A request whose body may be worked on. Every wait for it ends by `deadline`, a time of time.monotonic()."""

    owner: str
    idempotency_key: str | None
    media_type: str
    body: bytes
    deadline: float


class Admission:
    """Admits requests to add todos; one object for all endpoints, for their bodies share memory."""

    def __init__(self, auth: Auth, limits: RateLimits, metrics: Metrics) -> None:
        self._auth, self._limits, self._metrics = auth, limits, metrics
        self._bodies = BodyReader()

    async def admit(self, scope: Scope, receive: Receive, max_bytes: int, *media_types: str) -> AdmittedRequest:
        """Return the request, charged for its bytes. Raises Problem, which is counted."""
        try:
            self._limits.check_address(scope)
            began = time.monotonic()
            owner = await self._auth.owner_of(scope, began + LONGEST_WAIT_SECONDS)
            # The body may have arrived while the token's key was looked up, so that is part of the client's wait.
            left = LONGEST_WAIT_SECONDS - (time.monotonic() - began)
            self._limits.check_owner(owner)
            idempotency_key = parse_idempotency_key(scope)
            media_type, body = await self._bodies.read(scope, receive, max_bytes, media_types)
            self._limits.charge_bytes(scope, owner, len(body))
        except BaseException as exc:
            self._metrics.todos[outcome_of(exc)] += 1
            raise
        return AdmittedRequest(owner, idempotency_key, media_type, body, time.monotonic() + left)

    def charge_todos(self, scope: Scope, request: AdmittedRequest, count: int) -> None:
        """Charge the todos of a batch. Raises Problem 429."""
        self._limits.charge_todos(scope, request.owner, count, len(request.body))
