"""POST /new/: one todo in, one Kafka record out, 202 once it is acknowledged."""

from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import Response
from starlette.types import Receive, Scope

from edge_api.auth.authentication import Auth
from edge_api.contract import (
    MAX_BODY_BYTES,
    InvalidPayload,
    UnreadablePayload,
    encode_created,
    fingerprint,
    parse_json,
    record_key,
)
from edge_api.http.body import JSON, read_body
from edge_api.http.dispatch import Answer, Endpoint
from edge_api.http.idempotency import asked_key, new_id
from edge_api.http.request_id import HTTP_HEADER, asked_id, record_headers
from edge_api.http.schemas import NewTodo
from edge_api.limits.rate_limit import RateLimits
from edge_api.observability.metrics import Metrics
from edge_api.problems import Problem, RetryLater
from edge_api.publishing.batcher import Publisher
from edge_api.publishing.in_flight import Unavailable
from edge_api.settings import Settings


def new_todo(settings: Settings, auth: Auth, publisher: Publisher, metrics: Metrics, limits: RateLimits) -> Endpoint:
    api_url, topic = f"{settings.edge.public_api_url}/api", settings.kafka.topic

    async def create(scope: Scope, receive: Receive) -> Response:
        """Answers only when Kafka has acknowledged the todo, or at the latest when the ack time-out is over.

        Sent again with the same Idempotency-Key, it is the same todo; another content under that key is not stored, and
        its receipt says so. The todo's id serves as the id of the request, unless the client sends its own as
        X-Request-ID."""
        limits.of_address(scope)
        owner = await auth.owner_of(scope)
        limits.of_owner(owner)
        try:
            idempotency_key = asked_key(scope)
            _, body = await read_body(scope, receive, MAX_BODY_BYTES, JSON)
            todo, todo_id, created_at = _todo_from(body), new_id(owner, idempotency_key), now()
        except Problem:
            metrics.rejected += 1
            raise
        key, request_id = record_key(todo_id), asked_id(scope)
        headers = record_headers(scope, request_id, fingerprint(todo) if idempotency_key else "")
        try:
            event = encode_created(todo, todo_id, created_at, owner)
            partition, offset = await publisher.publish(key, event, headers)
        except Unavailable as exc:
            metrics.unconfirmed += 1
            raise RetryLater(str(exc)) from exc
        metrics.accepted += 1
        receipt = f"{api_url}/receipts/{todo_id}/{partition}-{offset}/"
        answer = (
            f'{{"id":"{todo_id}","url":"{api_url}/todos/{todo_id}/","receipt":"{receipt}",'
            f'"created_at":"{created_at}","topic":"{topic}","partition":{partition},"offset":{offset}}}'
        )
        return Answer(
            HTTPStatus.ACCEPTED, answer.encode(), (b"location", receipt.encode()), (HTTP_HEADER, request_id or key)
        )

    return create


def now() -> str:
    return f"{datetime.now(UTC).isoformat()[:-6]}Z"


def _todo_from(body: bytes) -> NewTodo:
    try:
        return parse_json(NewTodo, body)
    except UnreadablePayload as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body cannot be read.", errors=exc.errors) from exc
    except InvalidPayload as exc:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The todo is not valid.", errors=exc.errors) from exc
