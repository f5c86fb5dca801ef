"""POST /new/: one todo in, one Kafka record out, 202 once it is acknowledged."""

from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import Response
from starlette.types import Receive, Scope
from uuid_utils import uuid7

from edge_api.body import JSON, read_body
from edge_api.contract import (
    MAX_BODY_BYTES,
    InvalidPayload,
    UnreadablePayload,
    encode_created,
    parse_json,
    record_key,
)
from edge_api.fast_path import Answer, Endpoint
from edge_api.in_flight import Unavailable
from edge_api.metrics import Metrics
from edge_api.problems import Problem, RetryLater
from edge_api.publisher import Publisher
from edge_api.rate_limit import RateLimits
from edge_api.request_id import HTTP_HEADER, asked_id, record_headers
from edge_api.schemas import NewTodo
from edge_api.settings import Settings


def new_todo(settings: Settings, publisher: Publisher, metrics: Metrics, limits: RateLimits) -> Endpoint:
    todos_url, topic = f"{settings.edge.public_api_url}/api/todos", settings.kafka.topic

    async def create(scope: Scope, receive: Receive) -> Response:
        """Answers only when Kafka has acknowledged the todo, or at the latest when the ack time-out is over.

        The todo's id serves as the id of the request, unless the client sends its own as X-Request-ID."""
        limits.of_address(scope)
        try:
            _, body = await read_body(scope, receive, MAX_BODY_BYTES, JSON)
            todo, todo_id, created_at = _todo_from(body), str(uuid7()), now()
        except Problem:
            metrics.rejected += 1
            raise
        key, request_id = record_key(todo_id), asked_id(scope)
        headers = record_headers(scope, request_id)
        try:
            partition, offset = await publisher.publish(key, encode_created(todo, todo_id, created_at), headers)
        except Unavailable as exc:
            metrics.unconfirmed += 1
            raise RetryLater(str(exc)) from exc
        metrics.accepted += 1
        url = f"{todos_url}/{todo_id}/"
        answer = (
            f'{{"id":"{todo_id}","url":"{url}","created_at":"{created_at}","topic":"{topic}",'
            f'"partition":{partition},"offset":{offset}}}'
        )
        return Answer(
            HTTPStatus.ACCEPTED, answer.encode(), (b"location", url.encode()), (HTTP_HEADER, request_id or key)
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
