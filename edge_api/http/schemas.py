"""The bodies of requests and responses, as the OpenAPI document describes them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from edge_api.contract import TodoFields
from edge_api.http.shape import MAX_FIELDS


class NewTodo(TodoFields):
    """A todo to be stored."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "maxProperties": MAX_FIELDS,
            "examples": [{"title": "Do homework", "description": "Finish pending homeworks"}],
        },
    )


class Acknowledged(BaseModel):
    """Kafka has the todo on all its in-sync replicas; it appears at `url` as soon as a worker has stored it."""

    id: Annotated[UUID, Field(description="The todo's id: a UUIDv7, or derived from the Idempotency-Key.")]
    url: Annotated[
        str,
        Field(
            description="Where the todo can be read once it is stored.",
            examples=["http://localhost:7008/api/todos/019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b/"],
        ),
    ]
    receipt: Annotated[
        str,
        Field(
            description="Tells the outcome of this request: `?wait=10` waits until it is known, for 10 s at most.",
            examples=["http://localhost:7008/api/receipts/019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b/2-1234/"],
        ),
    ]
    created_at: datetime
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0, description="The record's position in its partition.")]


class Accepted(Acknowledged):
    topic: str


class Status(BaseModel):
    status: Literal["ok", "ready"]


class FieldProblem(BaseModel):
    field: Annotated[str, Field(description='A dotted path, "body" for the whole body, or a header\'s name.')]
    message: str


class AcceptedOfBatch(Acknowledged):
    status: Literal[202]


class RejectedOfBatch(BaseModel):
    """Fix the todo before sending it again. A field named `line 3` is that line of NDJSON, which is not JSON."""

    status: Literal[400, 422]
    errors: list[FieldProblem]


class UnconfirmedOfBatch(BaseModel):
    """`detail` says whether the todo may still be stored."""

    status: Literal[503]
    detail: str


class BatchResult(BaseModel):
    """`results` are in the order of the todos."""

    accepted: Annotated[int, Field(ge=1)]
    rejected: Annotated[int, Field(ge=0)]
    unconfirmed: Annotated[int, Field(ge=0)]
    topic: str
    results: list[Annotated[AcceptedOfBatch | RejectedOfBatch | UnconfirmedOfBatch, Field(discriminator="status")]]


class ProblemDetails(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem]
    results: Annotated[
        list[RejectedOfBatch] | None,
        Field(description="Only if all todos of a batch are rejected: the reasons, in the order of the todos."),
    ] = None
