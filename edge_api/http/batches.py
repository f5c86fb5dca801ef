"""POST /new/batch/: many todos in, a result for each of them once Kafka has decided about all."""

import asyncio
import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import Response
from starlette.types import Receive, Scope
from uuid_utils import uuid7

from edge_api.auth.authentication import Auth
from edge_api.contract import MAX_BATCH_BYTES, encode_created, fingerprint, record_key
from edge_api.http.batch_body import SLICE, Rejected, read_todos
from edge_api.http.body import JSON, NDJSON, read_body
from edge_api.http.dispatch import Answer, Endpoint
from edge_api.http.idempotency import asked_key, new_id
from edge_api.http.request_id import HTTP_HEADER, asked_id, record_headers
from edge_api.http.schemas import NewTodo
from edge_api.http.todos import now
from edge_api.limits.rate_limit import RateLimits
from edge_api.observability.metrics import Metrics
from edge_api.problems import Problem, RetryLater, shown
from edge_api.publishing.batcher import Publisher
from edge_api.publishing.in_flight import Unavailable
from edge_api.publishing.producer import OutgoingRecord, Position
from edge_api.settings import Settings

# The bodies of this many batches are in memory at once; what waits for Kafka is bounded by the publisher.
MAX_AT_ONCE = 64

Outcome = Position | Unavailable


def new_batch(settings: Settings, auth: Auth, publisher: Publisher, metrics: Metrics, limits: RateLimits) -> Endpoint:
    api_url, topic = f"{settings.edge.public_api_url}/api", settings.kafka.topic
    places = asyncio.Semaphore(MAX_AT_ONCE)

    async def create_many(scope: Scope, receive: Receive) -> Response:
        """Each todo is accepted or rejected by itself. Answers when Kafka has acknowledged what is valid, or at the
        latest when the ack time-out is over; what was not confirmed then may be sent again, and nothing else.

        With an Idempotency-Key, send all of the batch again, in the same order: its todos' ids are made of the key and
        of their places, and those that were stored stay as they are."""
        limits.of_address(scope)
        owner = await auth.owner_of(scope)
        limits.of_owner(owner)
        if places.locked():
            raise RetryLater("Not stored: too many batches are under way.")
        idempotency_key = asked_key(scope)
        async with places:
            todos = await read_todos(*await read_body(scope, receive, MAX_BATCH_BYTES, JSON, NDJSON))
            limits.rest_of_batch(scope, owner, len(todos) - 1)
            created_at, request_id = now(), asked_id(scope) or str(uuid7()).encode()
            metrics.rejected += sum(isinstance(todo, Rejected) for todo in todos)
            records = await _records(todos, scope, request_id, owner, idempotency_key, created_at)
            outcomes = await _publish(publisher, records, metrics)
        accepted = sum(isinstance(outcome, Position) for outcome in outcomes)
        results = ",".join(_results(todos, records, outcomes, api_url, created_at))
        body = (
            f'{{"accepted":{accepted},"rejected":{len(todos) - len(records)},"unconfirmed":{len(records) - accepted},'
            f'"topic":"{topic}","results":[{results}]}}'
        )
        status = HTTPStatus.ACCEPTED if accepted == len(todos) else HTTPStatus.MULTI_STATUS
        return Answer(status, body.encode(), (HTTP_HEADER, request_id))

    return create_many


async def _records(
    todos: list[NewTodo | Rejected],
    scope: Scope,
    request_id: bytes,
    owner: str,
    idempotency_key: str | None,
    created_at: str,
) -> list[OutgoingRecord]:
    """Of the valid todos. Raises Problem when there is none."""
    records, headers = [], record_headers(scope, request_id)
    for place, todo in enumerate(todos):
        if isinstance(todo, NewTodo):
            todo_id = new_id(owner, idempotency_key, place)
            if idempotency_key:
                headers = record_headers(scope, request_id, fingerprint(todo))
            records.append((record_key(todo_id), encode_created(todo, todo_id, created_at, owner), headers))
        if place % SLICE == SLICE - 1:
            await asyncio.sleep(0)
    if not records:
        results = [_rejection(todo) for todo in todos if isinstance(todo, Rejected)]
        detail = "None of the todos is valid."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, extension={"results": results})
    return records


async def _publish(publisher: Publisher, records: list[OutgoingRecord], metrics: Metrics) -> list[Outcome]:
    """Raises Problem when nothing was confirmed."""
    outcomes: list[Outcome]
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
    todos: list[NewTodo | Rejected],
    records: list[OutgoingRecord],
    outcomes: list[Outcome],
    api_url: str,
    created_at: str,
) -> Iterator[str]:
    """One JSON object for each todo."""
    of_valid = iter(zip(records, outcomes, strict=True))
    for todo in todos:
        if isinstance(todo, Rejected):
            yield json.dumps(_rejection(todo))
            continue
        (key, _, _), outcome = next(of_valid)
        if isinstance(outcome, Unavailable):
            yield json.dumps({"status": HTTPStatus.SERVICE_UNAVAILABLE, "detail": str(outcome)})
        else:
            todo_id, (partition, offset) = key.decode(), outcome
            yield (
                f'{{"status":202,"id":"{todo_id}","url":"{api_url}/todos/{todo_id}/",'
                f'"receipt":"{api_url}/receipts/{todo_id}/{partition}-{offset}/","created_at":"{created_at}",'
                f'"partition":{partition},"offset":{offset}}}'
            )


def _rejection(rejected: Rejected) -> dict[str, Any]:
    return {"status": rejected.status, "errors": shown(rejected.errors)}
