"""An edge that takes a day to write: FastAPI and one aiokafka producer. `python -m ... PORT`, with KAFKA_*."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata
from fastapi import FastAPI
from pydantic import BaseModel, Field, StringConstraints
from uuid_utils import uuid7

from benchmarks.baselines.server import serve

SERVERS, TOPIC = os.environ["KAFKA_BOOTSTRAP_SERVERS"], os.environ["KAFKA_TOPIC"]


class NewTodo(BaseModel):
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
    description: str = Field("", max_length=10_000)


class TodoEvent(NewTodo):
    id: str
    created_at: datetime


class Accepted(BaseModel):
    id: str
    partition: int
    offset: int


class AcceptedBatch(BaseModel):
    results: list[Accepted]


@asynccontextmanager
async def produce(app: FastAPI) -> AsyncIterator[None]:
    async with AIOKafkaProducer(bootstrap_servers=SERVERS, acks="all", linger_ms=5) as producer:
        app.state.producer = producer
        yield


app = FastAPI(lifespan=produce)


@app.post("/new/", status_code=202)
async def create(todo: NewTodo) -> Accepted:
    todo_id, ack = await send(todo)
    return accepted(todo_id, await ack)


@app.post("/new/batch/", status_code=202)
async def create_many(todos: list[NewTodo]) -> AcceptedBatch:
    ids, acks = zip(*[await send(todo) for todo in todos], strict=True)
    return AcceptedBatch(results=list(map(accepted, ids, await asyncio.gather(*acks))))


async def send(todo: NewTodo) -> tuple[str, asyncio.Future[RecordMetadata]]:
    """Return the id, and what completes once Kafka has acknowledged the todo."""
    todo_id = str(uuid7())
    event = TodoEvent.model_construct(
        id=todo_id, created_at=datetime.now(UTC), title=todo.title, description=todo.description
    )
    value, key = event.model_dump_json().encode(), todo_id.encode()
    return todo_id, await app.state.producer.send(TOPIC, value, key=key)


def accepted(todo_id: str, record: RecordMetadata) -> Accepted:
    return Accepted(id=todo_id, partition=record.partition, offset=record.offset)


if __name__ == "__main__":
    serve(app)
