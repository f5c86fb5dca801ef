"""What the OpenAPI document says of the edge's paths, and the page that shows it."""

from importlib.resources import files
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles

from edge_api.contract import MAX_BATCH_BYTES, MAX_BATCH_TODOS, MAX_BODY_BYTES
from edge_api.contract.headers import IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_PATTERN, X_REQUEST_ID
from edge_api.http.body import JSON, NDJSON
from edge_api.http.schemas import Accepted, BatchResult, NewTodo, ProblemDetails
from edge_api.http.shape import MAX_BATCH_ERRORS, MAX_BATCH_VALUES, MAX_FIELDS
from edge_api.limits.rate_limit import BYTES_PER_TODO
from edge_api.settings import EdgeSettings
from edge_api.shared.problems import MEDIA_TYPE

ASSETS = files("fastapi_standalone_docs") / "static"

# Only for the documentation: edge_api.auth.authentication verifies.
TOKEN = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    bearerFormat="JWT",
    description="Issued by Django's `/api/token/`, with scope `write`.",
)
# Receipts are served by Django, which has an OpenAPI document of its own.
RECEIPT_OPERATION = "/api/openapi.json#/paths/~1api~1receipts~1%7Btodo_id%7D~1%7Bpartition%7D-%7Boffset%7D~1/get"

REQUEST_ID = {
    "description": "The request's id: the client's own, if it sent 1 to 128 visible ASCII characters.",
    "schema": {"type": "string"},
}
KEY_PARAMETER = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "The same key makes the same todo, however often it is sent. Choose a random key, such as a UUID.",
    "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY_PATTERN}$"},
}

TODO_DESCRIPTION = """\
The response comes when Kafka has acknowledged the todo, or at the latest when the ack time-out has passed.

A request repeated with the same Idempotency-Key refers to the same todo. Different content under that key is not
stored, and its receipt says so. The todo's id serves as the id of the request, unless the client sends its own as
X-Request-ID."""
BATCH_DESCRIPTION = """\
Each todo is accepted or rejected by itself. The response comes when Kafka has acknowledged the valid ones, or at the
latest when the ack time-out has passed. Send again only those that are unconfirmed.

With an Idempotency-Key, send the whole batch again, in the same order: the ids of its todos are derived from the key
and their positions, and todos that are stored already stay as they are."""
TODO_SCHEMA = NewTodo.model_json_schema()
BATCH_SCHEMA = {
    "type": "array",
    "items": TODO_SCHEMA,
    "minItems": 1,
    "maxItems": MAX_BATCH_TODOS,
    "x-max-values": MAX_BATCH_VALUES,  # JSON Schema has no word for it
}


def document_todo(settings: EdgeSettings) -> dict[str, Any]:
    """Return what FastAPI documents of POST /new/, as arguments of add_api_route."""
    accepted = {
        "model": Accepted,
        "description": "Every in-sync replica of Kafka has the todo. It will be stored.",
        "headers": {
            X_REQUEST_ID: REQUEST_ID,
            "Location": {
                "description": "The URL of the receipt, which tells when the todo is stored.",
                "schema": {"type": "string", "format": "uri"},
            },
        },
        "links": _links("/new/", "$response.body#", settings.public_api_url),
    }
    responses = {
        202: accepted,
        **_problems(MAX_BODY_BYTES, JSON),
        422: _problem(
            f"A field is missing, invalid or unknown; `errors` names each. Or there are more than {MAX_FIELDS} JSON "
            "values, counting nested ones; such a body is not read."
        ),
    }
    content = {JSON: {"schema": TODO_SCHEMA}}
    return _document(settings, "Add a todo", TODO_DESCRIPTION, content, responses)


def document_batch(settings: EdgeSettings) -> dict[str, Any]:
    """Return what FastAPI documents of POST /new/batch/, as arguments of add_api_route."""
    result = {"model": BatchResult, "headers": {X_REQUEST_ID: REQUEST_ID}}
    responses = {
        202: result
        | {
            "description": "Every in-sync replica of Kafka has all of the todos.",
            # A batch has a receipt for each of its results; the link leads to the first.
            "links": _links("/new/batch/", "$response.body#/results/0", settings.public_api_url),
        },
        207: result
        | {"description": "Kafka has some of the todos; the others were rejected, or not confirmed in time."},
        **_problems(MAX_BATCH_BYTES, f"{JSON} or {NDJSON}"),
        413: _problem(
            f"The body is larger than {MAX_BATCH_BYTES:,} bytes, or holds more than {MAX_BATCH_TODOS:,} todos, or more "
            f"than {MAX_BATCH_VALUES:,} JSON values, counting nested ones."
        ),
        422: _problem(
            "The batch is empty, or none of its todos is valid; `results` names the invalid fields: the first "
            f"{MAX_BATCH_ERRORS:,} of the batch, and then one of each todo."
        ),
    }
    content = {
        JSON: {"schema": BATCH_SCHEMA},
        # As in OpenAPI 3.2, the schema of a sequence of lines is that of an array.
        NDJSON: {
            "schema": BATCH_SCHEMA | {"description": "One todo a line; blank lines are ignored."},
            "example": '{"title": "Do homework"}\n{"title": "Finish pending homeworks"}\n',
        },
    }
    return _document(settings, "Add many todos", BATCH_DESCRIPTION, content, responses)


def add_docs_page(app: FastAPI) -> None:
    """Serve Swagger UI at /docs, without loading anything from another host."""
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=app.title,
        swagger_js_url="/docs/assets/swagger/swagger-ui-bundle.js",
        swagger_css_url="/docs/assets/swagger/swagger-ui.css",
        swagger_favicon_url="/docs/assets/fastapi/favicon.png",
        # Otherwise Swagger UI would send the document to its makers' validator.
        swagger_ui_parameters={"validatorUrl": None},
    )

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return page

    app.mount("/docs/assets", StaticFiles(directory=str(ASSETS)))


def _document(
    settings: EdgeSettings,
    summary: str,
    description: str,
    content: dict[str, Any],
    responses: dict[int, dict[str, Any]],
) -> dict[str, Any]:
    return {
        "tags": ["todos"],
        "summary": summary,
        "description": description,
        "status_code": 202,
        "dependencies": [] if settings.auth == "open" else [Depends(TOKEN)],
        "responses": responses,
        "openapi_extra": {"parameters": [KEY_PARAMETER], "requestBody": {"required": True, "content": content}},
    }


def _problems(max_bytes: int, media_types: str) -> dict[int, dict[str, Any]]:
    """Return the error responses that both paths have."""
    return {
        400: _problem("The body is not JSON in UTF-8, or the Idempotency-Key is invalid."),
        401: _problem("The token is missing, expired or not valid.", WWW_Authenticate="What is wrong, by RFC 6750."),
        403: _problem("The token lacks the scope `write`.", WWW_Authenticate="The scope that is needed."),
        408: _problem("The body arrived too slowly."),
        413: _problem(f"The body is larger than {max_bytes:,} bytes."),
        415: _problem(f"The content type is not {media_types}."),
        429: _problem(
            "More todos than the rate limit of this owner or address allows. A body counts as a todo for each "
            f"{BYTES_PER_TODO:,} bytes, if that is more than its todos.",
            Retry_After="Seconds until there is room again.",
        ),
        500: _problem("The edge failed in an unexpected way."),
        503: _problem(
            "Not confirmed by Kafka in time, or not accepted at all, also because the keys of tokens cannot be read; "
            "`detail` says which. Retry later. A todo that was not confirmed may still be stored.",
            Retry_After="Seconds to wait before the next attempt.",
        ),
    }


def _problem(description: str, **headers: str) -> dict[str, Any]:
    """Describe a problem response; `headers` are names, with _ for -, and their descriptions."""
    documented = {
        name.replace("_", "-"): {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
    }
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}}},
        "headers": {X_REQUEST_ID: REQUEST_ID, **documented},
    }


def _links(path: str, accepted_todo: str, api_url: str) -> dict[str, Any]:
    """Return what a client may call after a 202 from `path`; `accepted_todo` is a runtime expression."""
    return {
        "receipt": {
            "operationRef": f"{api_url}{RECEIPT_OPERATION}",
            "parameters": {
                "partition": f"{accepted_todo}/partition",
                "offset": f"{accepted_todo}/offset",
                "todo_id": f"{accepted_todo}/id",
                "wait": "10",
            },
            "description": "The outcome of this request.",
        },
        "replay": {
            "operationRef": f"#/paths/{path.replace('/', '~1')}/post",
            "parameters": {IDEMPOTENCY_KEY: f"$request.header.{IDEMPOTENCY_KEY}"},
            "requestBody": "$request.body",
            "description": "Repeated under the same key, the request refers to the same todo.",
        },
    }
