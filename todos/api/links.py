"""The links of the OpenAPI document: which request may follow an answer, and what it takes from it."""

from typing import Any

Links = dict[str, dict[str, Any]]
READ = "todos_retrieve"
EDITS = {"replace": "todos_update", "change": "todos_partial_update", "delete": "todos_destroy"}
REFRESH = {"operationId": "token_refresh_create", "requestBody": {"refresh": "$response.body#/refresh"}}


def _read(**parameters: str) -> Links:
    return {"read": {"operationId": READ, "parameters": parameters}}


def _edit(**parameters: str) -> Links:
    return {name: {"operationId": operation, "parameters": parameters} for name, operation in EDITS.items()}


FIRST, SAME, ETAG = "$response.body#/results/0/id", "$response.body#/id", "$response.header.ETag"
UNLESS_CHANGED = _edit(**{"id": SAME, "If-Match": ETAG})
LINKS: dict[str, Links] = {
    "todos_list": _read(id=FIRST) | _edit(id=FIRST),
    READ: _read(**{"id": SAME, "If-None-Match": ETAG}) | UNLESS_CHANGED,
    EDITS["replace"]: UNLESS_CHANGED,
    EDITS["change"]: UNLESS_CHANGED,
    "todos_bulk_create": _read(id=FIRST),
    "receipts_retrieve": _read(id="$request.path.todo_id"),
    "token_create": {"refresh": REFRESH},
    "token_refresh_create": {"refresh": REFRESH},
}


def add_links(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """For drf-spectacular, which has no place for them."""
    operations = {one["operationId"]: one for path in result["paths"].values() for one in path.values()}
    for operation, links in LINKS.items():
        operations[operation]["responses"]["200"]["links"] = links
    return result
