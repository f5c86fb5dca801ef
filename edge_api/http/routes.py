"""The paths of the edge and their documentation."""

from typing import Any

from fastapi import Depends
from fastapi.security import HTTPBearer

from edge_api.auth.authentication import Auth
from edge_api.contract import MAX_BATCH_BYTES, MAX_BATCH_TODOS, MAX_BODY_BYTES
from edge_api.contract.headers import IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_PATTERN, X_REQUEST_ID
from edge_api.http.batches import new_batch
from edge_api.http.body import JSON, NDJSON
from edge_api.http.dispatch import FastPath
from edge_api.http.links import Links, links_of
from edge_api.http.schemas import Accepted, BatchResult, NewTodo, ProblemDetails
from edge_api.http.todos import new_todo
from edge_api.limits.rate_limit import RateLimits
from edge_api.observability.metrics import Metrics
from edge_api.publishing.batcher import Publisher
from edge_api.settings import Settings
from edge_api.shared.problems import MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]
# Only for the documentation: edge_api.auth.authentication verifies.
TOKEN = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    bearerFormat="JWT",
    description="By Django's `/api/token/`, with scope `write`.",
)
REQUEST_ID = {
    "description": "The request's id: the client's own, if it sent 1 to 128 visible ASCII characters.",
    "schema": {"type": "string"},
}

KEY_PARAMETER = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "The same key makes the same todo, however often it is sent. Take a random one, a UUID say.",
    "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY_PATTERN}$"},
}


def _problem(description: str, **headers: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}}},
        "headers": {
            X_REQUEST_ID: REQUEST_ID,
            **{
                name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
                for name, text in headers.items()
            },
        },
    }


def _in_common(max_bytes: int, media_types: str) -> Responses:
    return {
        400: _problem("The body is not JSON in UTF-8, or the Idempotency-Key is none."),
        401: _problem("The token is missing, expired or not valid.", WWW_Authenticate="What is wrong, by RFC 6750."),
        403: _problem("The token lacks the scope `write`.", WWW_Authenticate="The scope that is needed."),
        408: _problem("The body came too slowly."),
        413: _problem(f"The body is larger than {max_bytes:,} bytes."),
        415: _problem(f"The content type is not {media_types}."),
        429: _problem(
            "More todos than the rate limit of this owner or address allows.",
            Retry_After="Seconds until there is room again.",
        ),
        500: _problem("The edge failed in an unexpected way."),
        503: _problem(
            "Not confirmed by Kafka in time, or not accepted at all; `detail` says which. Retry later: what was not "
            "confirmed may be stored none the less.",
            Retry_After="Seconds to wait before the next try.",
        ),
    }


OF_ONE: Responses = _in_common(MAX_BODY_BYTES, JSON) | {
    202: {
        "model": Accepted,
        "description": "Every in-sync replica of Kafka has the todo. It will be stored.",
        "headers": {
            X_REQUEST_ID: REQUEST_ID,
            "Location": {
                "description": "The receipt's URL, which tells when the todo is stored.",
                "schema": {"type": "string", "format": "uri"},
            },
        },
    },
    422: _problem("A field is missing, wrong or unknown; `errors` names each."),
}
OF_MANY: Responses = _in_common(MAX_BATCH_BYTES, f"{JSON} or {NDJSON}") | {
    202: {
        "model": BatchResult,
        "description": "Every in-sync replica of Kafka has all of the todos.",
        "headers": {X_REQUEST_ID: REQUEST_ID},
    },
    207: {
        "model": BatchResult,
        "description": "Kafka has some of the todos; others were rejected, or not confirmed in time.",
        "headers": {X_REQUEST_ID: REQUEST_ID},
    },
    413: _problem(f"The body is larger than {MAX_BATCH_BYTES:,} bytes or holds more than {MAX_BATCH_TODOS:,} todos."),
    422: _problem("None of the todos is valid, or there is none; `results` names the fields at fault."),
}
TODO_SCHEMA = NewTodo.model_json_schema()
BATCH_SCHEMA = {"type": "array", "items": TODO_SCHEMA, "minItems": 1, "maxItems": MAX_BATCH_TODOS}
ONE = {JSON: {"schema": TODO_SCHEMA}}
MANY = {
    JSON: {"schema": BATCH_SCHEMA},
    # As in OpenAPI 3.2, the schema of a sequence of lines is that of an array.
    NDJSON: {
        "schema": BATCH_SCHEMA | {"description": "One todo a line; blank lines are ignored."},
        "example": '{"title": "Do homework"}\n{"title": "Finish pending homeworks"}\n',
    },
}


def add_routes(
    app: FastPath, settings: Settings, auth: Auth, publisher: Publisher, metrics: Metrics, limits: RateLimits
) -> None:
    one = new_todo(settings, auth, publisher, metrics, limits)
    many = new_batch(settings, auth, publisher, metrics, limits)
    guard: dict[str, Any] = {} if settings.edge.auth == "open" else {"dependencies": [Depends(TOKEN)]}
    of_one, of_many = (links_of(path, settings.edge.public_api_url) for path in ("/new/", "/new/batch/"))
    app.add_post("/new/", one, summary="Add a todo", **guard, **_documentation(ONE, OF_ONE, of_one))
    app.add_post("/new", one, include_in_schema=False)
    app.add_post("/new/batch/", many, summary="Add many todos", **guard, **_documentation(MANY, OF_MANY, of_many))
    app.add_post("/new/batch", many, include_in_schema=False)


def _documentation(content: dict[str, Any], responses: Responses, links: Links) -> dict[str, Any]:
    request = {"parameters": [KEY_PARAMETER], "requestBody": {"required": True, "content": content}}
    return {
        "status_code": 202,
        "responses": responses | {202: responses[202] | {"links": links}},
        "openapi_extra": request,
        "tags": ["todos"],
    }
