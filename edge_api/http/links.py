"""The links of the OpenAPI document: what may follow a 202. Receipts are Django's, which has a document of its own."""

from typing import Any

from edge_api.contract.headers import IDEMPOTENCY_KEY

Links = dict[str, dict[str, Any]]
RECEIPT = "/api/openapi.json#/paths/~1api~1receipts~1%7Btodo_id%7D~1%7Bpartition%7D-%7Boffset%7D~1/get"


def links_of(path: str, api_url: str) -> Links:
    """Of a POST to `path`. A batch has a receipt for each of its results; the link leads to the first."""
    todo = "$response.body#/results/0" if "batch" in path else "$response.body#"
    return {
        "receipt": {
            "operationRef": f"{api_url}{RECEIPT}",
            "parameters": {name: f"{todo}/{name}" for name in ("partition", "offset")}
            | {"todo_id": f"{todo}/id", "wait": "10"},
            "description": "What became of it.",
        },
        "replay": {
            "operationRef": f"#/paths/{path.replace('/', '~1')}/post",
            "parameters": {IDEMPOTENCY_KEY: f"$request.header.{IDEMPOTENCY_KEY}"},
            "requestBody": "$request.body",
            "description": "Sent again under the same key it is the same todo.",
        },
    }
