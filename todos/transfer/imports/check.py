"""From a line to the event of a todo whose id is decided; or to what is wrong with each field, by the contract."""

import json
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from edge_api.contract import InvalidPayload, TodoCreated, parse_json
from todos.transfer.imports.lines import COLUMNS, LINE, Line


class Rejected(NamedTuple):
    """`todo` can be edited and imported; it has the line's id, so it is one todo however often that happens."""

    number: int
    errors: dict[str, str]
    original: str
    todo: dict[str, object]


def check(line: Line, namespace: UUID) -> TodoCreated | Rejected:
    """A line without an id gets one in `namespace` from its number: the same in every run."""
    todo = line.fields
    if todo.get("id") is None:
        todo = todo | {"id": str(uuid5(namespace, str(line.number)))}
    event, errors = _parse(todo) if LINE not in line.errors else (None, {})
    errors |= line.errors
    if event and not errors:
        return event
    return Rejected(line.number, errors, line.original, {"title": ""} | todo)


def _parse(todo: dict[str, Any]) -> tuple[TodoCreated | None, dict[str, str]]:
    fields = {name: todo[name] for name in COLUMNS if name in todo}
    if fields.get("owner") == "":  # as an export says that it has none
        del fields["owner"]
    try:
        return parse_json(TodoCreated, json.dumps(fields).encode()), {}
    except InvalidPayload as exc:
        return None, dict(exc.errors)
