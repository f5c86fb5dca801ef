"""POST /new/batch/: validate each todo, publish the valid ones to Kafka, and respond with a result for each of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from itertools import chain, repeat, starmap
from typing import Annotated, Any, NamedTuple

from fastapi import Response
from pydantic import FailFast, Field, TypeAdapter, ValidationError
from starlette.types import Receive, Scope

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
from edge_api.http.admission import Admission, AdmittedRequest
from edge_api.http.body import JSON, NDJSON
from edge_api.http.dispatch import Endpoint, JsonResponse
from edge_api.http.headers import REQUEST_ID_HEADER, client_request_id, new_id, new_todo_id, record_headers
from edge_api.http.schemas import NewTodo
from edge_api.http.shape import (
    MAX_BATCH_ERRORS,
    MAX_FIELDS,
    TOO_MANY_FIELDS,
    batch_too_large,
    check_batch,
    has_too_many_strings,
)
from edge_api.http.todos import now
from edge_api.observability.metrics import Metrics
from edge_api.problems import Problem, RetryLater, outcome_of
from edge_api.publishing.batcher import Publisher
from edge_api.publishing.in_flight import Unavailable
from edge_api.publishing.producer import OutgoingRecord, Position
from edge_api.settings import Settings
from edge_api.shared.problems import shown_errors

# Of all batches that are not answered yet. Their todos that wait for Kafka are bounded by the publisher as well.
MAX_WAITING_BYTES = 16 * MAX_BATCH_BYTES
# After so many todos and errors of them, which cost as much, other requests get their turn: within about 3 ms.
TURN = 400
TOO_MANY_BATCHES = "Not stored: too many batches are under way."
_VALID_TODOS = TypeAdapter(Annotated[list[NewTodo], Field(max_length=MAX_BATCH_TODOS), FailFast()])


class RejectedTodo(NamedTuple):
    """Stands in the todo's position in the batch, and says what is wrong with it."""

    status: HTTPStatus
    errors: list[FieldError]

    def result(self) -> dict[str, Any]:
        return {"status": self.status, "errors": shown_errors(self.errors)}


def new_batch(settings: Settings, admission: Admission, publisher: Publisher, metrics: Metrics) -> Endpoint:
    api_url, topic = f"{settings.edge.public_api_url}/api", settings.kafka.topic
    waiting_bytes = 0
    # One batch at a time is worked on. Otherwise the loop would be busy with a piece of each before other requests.
    reading, answering = asyncio.Lock(), asyncio.Lock()

    async def create_many(scope: Scope, receive: Receive) -> Response:
        """Add the valid todos. Raises Problem when none of them is valid, or none is confirmed by Kafka in time."""
        nonlocal waiting_bytes
        request = await admission.admit(scope, receive, MAX_BATCH_BYTES, JSON, NDJSON)
        if waiting_bytes + len(request.body) > MAX_WAITING_BYTES:
            metrics.todos["refused"] += 1
            raise RetryLater(TOO_MANY_BATCHES)
        waiting_bytes += len(request.body)
        try:
            return await add(scope, request)
        finally:
            waiting_bytes -= len(request.body)

    async def add(scope: Scope, request: AdmittedRequest) -> Response:
        created_at, request_id = now(), client_request_id(scope) or new_id().encode()
        try:
            async with _turn(reading, request.deadline):
                todos = await _read_todos(request, partial(admission.charge_todos, scope, request))
                records = await _encode_records(todos, scope, request, request_id, created_at)
        except BaseException as exc:
            metrics.todos[outcome_of(exc)] += 1  # how many todos it would have held is unknown
            raise
        metrics.todos["rejected"] += len(todos) - len(records)
        if not records:
            raise _none_is_valid(todos)
        outcomes = await _publish(publisher, records, request.deadline)
        accepted = sum(count for outcome, count in outcomes if isinstance(outcome, Position))
        async with answering:
            results = ",".join(_results(todos, records, outcomes, api_url, created_at))
        content = (
            f'{{"accepted":{accepted},"rejected":{len(todos) - len(records)},"unconfirmed":{len(records) - accepted},'
            f'"topic":"{topic}","results":[{results}]}}'
        )
        status = HTTPStatus.ACCEPTED if accepted == len(todos) else HTTPStatus.MULTI_STATUS
        return JsonResponse(status, content.encode(), (REQUEST_ID_HEADER, request_id))

    return create_many


@asynccontextmanager
async def _turn(lock: asyncio.Lock, deadline: float) -> AsyncIterator[None]:
    """Hold `lock`, which is given in the order of asking. Raises RetryLater if its turn does not come in time."""
    try:
        async with asyncio.timeout_at(deadline):
            await lock.acquire()
    except TimeoutError:
        raise RetryLater(TOO_MANY_BATCHES) from None
    try:
        yield
    finally:
        lock.release()


async def _read_todos(request: AdmittedRequest, charge: Callable[[int], None]) -> Sequence[NewTodo | RejectedTodo]:
    """Return each todo, or what is wrong with it: at least one, and at most MAX_BATCH_TODOS.

    `charge` gets their number before any of them is judged by itself. Raises Problem if the body is no batch.
    """
    items: Iterable[Any]
    if request.media_type == NDJSON:
        lines = _split_lines(request.body)
        check_batch(request.body, (line for _, line in lines))
        count, items = len(lines), map(_read_line, lines)
    else:
        check_batch(request.body, [request.body])
        await asyncio.sleep(0)
        todos = read_valid_array(request.body)
        await asyncio.sleep(0)
        if todos:
            charge(len(todos))
            return todos
        items = _read_array(request.body)
        count = len(items)
    if count > MAX_BATCH_TODOS:
        raise batch_too_large()
    if not count:
        raise _invalid_batch("must hold at least one todo")
    charge(count)
    return await _validate(items)


def read_valid_array(body: bytes) -> list[NewTodo]:
    """Return the todos of an array, in half the time of judging each by itself; none if anything is wrong."""
    if has_too_many_strings(body):  # so many unknown fields, with an error for each, would take too long for one turn
        return []
    try:
        return _VALID_TODOS.validate_json(body)
    except ValidationError:
        return []


def _read_array(body: bytes) -> list[Any]:
    try:
        items = load_json(body)
    except UnreadablePayload as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body cannot be read.", errors=exc.errors) from exc
    if not isinstance(items, list):
        raise _invalid_batch("must be an array of todos")
    return items


def _split_lines(body: bytes) -> list[tuple[int, bytes]]:
    """Return the lines that are not blank, each with its number in the body."""
    lines = body.split(b"\n", 2 * MAX_BATCH_TODOS)
    if len(lines) > 2 * MAX_BATCH_TODOS:
        raise batch_too_large()
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _read_line(numbered_line: tuple[int, bytes]) -> Any:
    number, line = numbered_line
    try:
        return load_json(line)
    except UnreadablePayload as exc:
        return RejectedTodo(HTTPStatus.BAD_REQUEST, [FieldError(f"line {number}", exc.errors[0].message)])


async def _validate(items: Iterable[Any]) -> list[NewTodo | RejectedTodo]:
    todos: list[NewTodo | RejectedTodo] = []
    work = shown = 0
    for item in items:
        todo = _validate_todo(item)
        work += 1
        if isinstance(todo, RejectedTodo):
            work += len(todo.errors)
            if shown >= MAX_BATCH_ERRORS:
                todo = todo._replace(errors=todo.errors[:1])
            shown += len(todo.errors)
        todos.append(todo)
        if work >= TURN:
            work = 0
            await asyncio.sleep(0)
    return todos


def _validate_todo(item: Any) -> NewTodo | RejectedTodo:
    if isinstance(item, RejectedTodo):
        return item
    if isinstance(item, dict) and len(item) > MAX_FIELDS:
        return RejectedTodo(HTTPStatus.UNPROCESSABLE_ENTITY, [TOO_MANY_FIELDS])
    try:
        return validate(NewTodo, item)
    except InvalidPayload as exc:
        return RejectedTodo(HTTPStatus.UNPROCESSABLE_ENTITY, exc.errors)


async def _encode_records(
    todos: Sequence[NewTodo | RejectedTodo], scope: Scope, request: AdmittedRequest, request_id: bytes, created_at: str
) -> list[OutgoingRecord]:
    """Encode a record for each valid todo."""
    records: list[OutgoingRecord] = []
    headers = record_headers(scope, request_id)
    for index, todo in enumerate(todos):
        if isinstance(todo, NewTodo):
            todo_id = new_todo_id(request.owner, request.idempotency_key, index)
            if request.idempotency_key:
                headers = record_headers(scope, request_id, fingerprint(todo))
            records.append((record_key(todo_id), encode_created(todo, todo_id, created_at, request.owner), headers))
        if index % TURN == TURN - 1:
            await asyncio.sleep(0)
    return records


async def _publish(
    publisher: Publisher, records: list[OutgoingRecord], deadline: float
) -> list[tuple[Position | Unavailable, int]]:
    """Publish the records. Raises RetryLater when nothing was confirmed."""
    try:
        outcomes = await publisher.publish_all(records, deadline)
    except Unavailable as exc:
        raise RetryLater(str(exc)) from exc
    if not any(isinstance(outcome, Position) for outcome, _ in outcomes):
        raise RetryLater(str(outcomes[0][0]))
    return outcomes


def _results(
    todos: Sequence[NewTodo | RejectedTodo],
    records: list[OutgoingRecord],
    outcomes: list[tuple[Position | Unavailable, int]],
    api_url: str,
    created_at: str,
) -> Iterator[str]:
    """Yield one JSON object for each todo."""
    of_valid = zip(records, chain.from_iterable(starmap(_of_each, outcomes)), strict=True)
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


def _of_each(outcome: Position | Unavailable, count: int) -> Iterable[tuple[int, int] | Unavailable]:
    """Return the partition and offset of each of `count` records, or why it is not confirmed."""
    if isinstance(outcome, Unavailable):
        return repeat(outcome, count)
    partition, offset = outcome
    return ((partition, offset + index) for index in range(count))


def _none_is_valid(todos: Sequence[NewTodo | RejectedTodo]) -> Problem:
    results = [todo.result() for todo in todos if isinstance(todo, RejectedTodo)]
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "None of the todos is valid.", extension={"results": results})


def _invalid_batch(message: str) -> Problem:
    errors = [FieldError("body", message)]
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The batch is not valid.", errors=errors)
