"""POST /new/: validate one todo, publish it to Kafka, and respond once Kafka has acknowledged it."""

from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import Response
from starlette.types import Receive, Scope

from edge_api.contract import (
    MAX_BODY_BYTES,
    InvalidPayload,
    UnreadablePayload,
    encode_created,
    fingerprint,
    parse_json,
    record_key,
)
from edge_api.contract.urls import todo_urls
from edge_api.http.admission import Admission
from edge_api.http.body import JSON
from edge_api.http.dispatch import Endpoint, JsonResponse
from edge_api.http.headers import REQUEST_ID_HEADER, client_request_id, new_todo_id, record_headers
from edge_api.http.schemas import NewTodo
from edge_api.http.shape import check_todo
from edge_api.observability.metrics import Metrics
from edge_api.problems import Problem, RetryLater
from edge_api.publishing.batcher import Publisher
from edge_api.publishing.in_flight import Unavailable
from edge_api.settings import Settings


def new_todo(settings: Settings, admission: Admission, publisher: Publisher, metrics: Metrics) -> Endpoint:
    api_url, topic = f"{settings.edge.public_api_url}/api", settings.kafka.topic

    async def create(scope: Scope, receive: Receive) -> Response:
        """Add a todo. Raises Problem when it is not accepted, or not confirmed by Kafka in time."""
        request = await admission.admit(scope, receive, MAX_BODY_BYTES, JSON)
        try:
            todo = _parse_todo(request.body)
        except Problem:
            metrics.todos["rejected"] += 1
            raise
        owner, idempotency_key = request.owner, request.idempotency_key
        todo_id, created_at = new_todo_id(owner, idempotency_key), now()
        key, request_id = record_key(todo_id), client_request_id(scope)
        headers = record_headers(scope, request_id, fingerprint(todo) if idempotency_key else "")
        event = encode_created(todo, todo_id, created_at, owner)
        try:
            partition, offset = await publisher.publish(key, event, headers, request.deadline)
        except Unavailable as exc:
            raise RetryLater(str(exc)) from exc
        url, receipt = todo_urls(api_url, todo_id, partition, offset)
        # Formatted, not serialized, at a tenth of the cost: none of the values needs escaping.
        content = (
            f'{{"id":"{todo_id}","url":"{url}","receipt":"{receipt}",'
            f'"created_at":"{created_at}","topic":"{topic}","partition":{partition},"offset":{offset}}}'
        )
        headers_sent = (b"location", receipt.encode()), (REQUEST_ID_HEADER, request_id or key)
        return JsonResponse(HTTPStatus.ACCEPTED, content.encode(), *headers_sent)

    return create


def now() -> str:
    """Return the time in ISO 8601 and UTC, as encode_created takes it."""
    return f"{datetime.now(UTC).isoformat()[:-6]}Z"


def _parse_todo(body: bytes) -> NewTodo:
    check_todo(body)
    try:
        return parse_json(NewTodo, body)
    except UnreadablePayload as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body cannot be read.", errors=exc.errors) from exc
    except InvalidPayload as exc:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The todo is not valid.", errors=exc.errors) from exc
