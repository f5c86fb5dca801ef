"""POST /new/batch/: validate each todo, publish the valid ones to Kafka, and respond with a result for each of them."""

import asyncio
import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import Response
from starlette.types import Receive, Scope

from edge_api.auth.authentication import Auth
from edge_api.contract import (
    MAX_BATCH_BYTES,
    MAX_BATCH_TODOS,
    FieldError,
    InvalidPayload,
    UnreadablePayload,
    encode_created,
    fingerprint,
    load_json,
    record_key,
    validate,
)
from edge_api.contract.urls import todo_urls
from edge_api.http.body import JSON, NDJSON, read_body
from edge_api.http.dispatch import Endpoint, JsonResponse
from edge_api.http.headers import (
    REQUEST_ID_HEADER,
    client_request_id,
    new_id,
    new_todo_id,
    parse_idempotency_key,
    record_headers,
)
from edge_api.http.schemas import NewTodo
from edge_api.http.todos import now
from edge_api.limits.rate_limit import RateLimits
from edge_api.observability.metrics import Metrics
from edge_api.problems import Problem, RetryLater
from edge_api.publishing.batcher import Publisher
from edge_api.publishing.in_flight import Unavailable
from edge_api.publishing.producer import OutgoingRecord, Position
from edge_api.settings import Settings
from edge_api.shared.problems import MAX_ERRORS, shown_errors

# Bounds the memory for bodies of batches; what waits for Kafka is bounded by the publisher.
MAX_CONCURRENT_BATCHES = 64
# After this many todos, other requests get their turn.
YIELD_EVERY = 200


class RejectedTodo(NamedTuple):
    """Stands in the todo's position in the batch, and says what is wrong with it."""

    status: HTTPStatus
    errors: list[FieldError]

    def result(self) -> dict[str, Any]:
        return {"status": self.status, "errors": shown_errors(self.errors)}


def new_batch(settings: Settings, auth: Auth, publisher: Publisher, limits: RateLimits, metrics: Metrics) -> Endpoint:
    api_url, topic = f"{settings.edge.public_api_url}/api", settings.kafka.topic
    slots = asyncio.Semaphore(MAX_CONCURRENT_BATCHES)

    async def create_many(scope: Scope, receive: Receive) -> Response:
        """Add the valid todos. Raises Problem when none of them is valid, or none is confirmed by Kafka in time."""
        limits.check_address(scope)
        owner = await auth.owner_of(scope)
        limits.check_owner(owner)
        if slots.locked():
            raise RetryLater("Not stored: too many batches are under way.")
        async with slots:
            try:
                idempotency_key = parse_idempotency_key(scope)
                todos = await _read_todos(*await read_body(scope, receive, MAX_BATCH_BYTES, JSON, NDJSON))
            except Problem:
                metrics.rejected += 1  # as POST /new/ does: how many todos it would have held is unknown
                raise
            limits.check_batch(scope, owner, len(todos))
            created_at, request_id = now(), client_request_id(scope) or new_id().encode()
            metrics.rejected += sum(isinstance(todo, RejectedTodo) for todo in todos)
            records = await _encode_records(todos, scope, request_id, owner, idempotency_key, created_at)
            outcomes = await _publish(publisher, records, metrics)
        accepted = sum(isinstance(outcome, Position) for outcome in outcomes)
        results = ",".join(_results(todos, records, outcomes, api_url, created_at))
        content = (
            f'{{"accepted":{accepted},"rejected":{len(todos) - len(records)},"unconfirmed":{len(records) - accepted},'
            f'"topic":"{topic}","results":[{results}]}}'
        )
        status = HTTPStatus.ACCEPTED if accepted == len(todos) else HTTPStatus.MULTI_STATUS
        return JsonResponse(status, content.encode(), (REQUEST_ID_HEADER, request_id))

    return create_many


async def _read_todos(media_type: str, body: bytes) -> list[NewTodo | RejectedTodo]:
    """Validate each todo of the body: at least one and at most MAX_BATCH_TODOS. Raises Problem if it is no batch."""
    items = list(_read_lines(body)) if media_type == NDJSON else _read_array(body)
    if len(items) > MAX_BATCH_TODOS:
        raise _too_many()
    if not items:
        raise _invalid_batch("must hold at least one todo")
    todos = []
    for number, item in enumerate(items, 1):
        todos.append(_validate_todo(item))
        if not number % YIELD_EVERY:
            await asyncio.sleep(0)
    return todos


def _read_array(body: bytes) -> list[Any]:
    try:
        items = load_json(body)
    except UnreadablePayload as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body cannot be read.", errors=exc.errors) from exc
    if not isinstance(items, list):
        raise _invalid_batch("must be an array of todos")
    return items


def _read_lines(body: bytes) -> Iterator[Any]:
    """Yield the value of each line, or a RejectedTodo if it cannot be read; skip blank lines."""
    lines = body.split(b"\n", 2 * MAX_BATCH_TODOS)
    if len(lines) > 2 * MAX_BATCH_TODOS:
        raise _too_many()
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield load_json(line)
            except UnreadablePayload as exc:
                message = exc.errors[0].message
                yield RejectedTodo(HTTPStatus.BAD_REQUEST, [FieldError(f"line {number}", message)])


def _validate_todo(item: Any) -> NewTodo | RejectedTodo:
    if isinstance(item, RejectedTodo):
        return item
    if isinstance(item, dict) and len(item) > MAX_ERRORS:  # naming each of 100,000 fields would take long
        return RejectedTodo(HTTPStatus.UNPROCESSABLE_ENTITY, [FieldError("body", "has too many fields")])
    try:
        return validate(NewTodo, item)
    except InvalidPayload as exc:
        return RejectedTodo(HTTPStatus.UNPROCESSABLE_ENTITY, exc.errors)


async def _encode_records(
    todos: list[NewTodo | RejectedTodo],
    scope: Scope,
    request_id: bytes,
    owner: str,
    idempotency_key: str | None,
    created_at: str,
) -> list[OutgoingRecord]:
    """Encode a record for each valid todo. Raises Problem when there is none."""
    records, headers = [], record_headers(scope, request_id)
    for index, todo in enumerate(todos):
        if isinstance(todo, NewTodo):
            todo_id = new_todo_id(owner, idempotency_key, index)
            if idempotency_key:
                headers = record_headers(scope, request_id, fingerprint(todo))
            records.append((record_key(todo_id), encode_created(todo, todo_id, created_at, owner), headers))
        if index % YIELD_EVERY == YIELD_EVERY - 1:
            await asyncio.sleep(0)
    if not records:
        results = [todo.result() for todo in todos if isinstance(todo, RejectedTodo)]
        detail = "None of the todos is valid."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, extension={"results": results})
    return records


async def _publish(
    publisher: Publisher, records: list[OutgoingRecord], metrics: Metrics
) -> list[Position | Unavailable]:
    """Publish the records and count the outcomes. Raises Problem when nothing was confirmed."""
    outcomes: list[Position | Unavailable]
    try:
        outcomes = await publisher.publish_all(records)
    except Unavailable as exc:
        outcomes = [exc] * len(records)
    accepted = sum(isinstance(outcome, Position) for outcome in outcomes)
    metrics.accepted += accepted
    metrics.unconfirmed += len(outcomes) - accepted
    if not accepted:
        raise RetryLater(str(outcomes[0]))
    return outcomes


def _results(
    todos: list[NewTodo | RejectedTodo],
    records: list[OutgoingRecord],
    outcomes: list[Position | Unavailable],
    api_url: str,
    created_at: str,
) -> Iterator[str]:
    """Yield one JSON object for each todo."""
    of_valid = iter(zip(records, outcomes, strict=True))
    for todo in todos:
        if isinstance(todo, RejectedTodo):
            yield json.dumps(todo.result())
            continue
        (key, _, _), outcome = next(of_valid)
        if isinstance(outcome, Unavailable):
            yield json.dumps({"status": HTTPStatus.SERVICE_UNAVAILABLE, "detail": str(outcome)})
        else:
            todo_id, (partition, offset) = key.decode(), outcome
            url, receipt = todo_urls(api_url, todo_id, partition, offset)
            yield (
                f'{{"status":202,"id":"{todo_id}","url":"{url}","receipt":"{receipt}","created_at":"{created_at}",'
                f'"partition":{partition},"offset":{offset}}}'
            )


def _invalid_batch(message: str) -> Problem:
    errors = [FieldError("body", message)]
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The batch is not valid.", errors=errors)


def _too_many() -> Problem:
    errors = [FieldError("body", f"must hold at most {MAX_BATCH_TODOS:,} todos")]
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The batch is too large.", errors=errors)
