"""From a line to the event of a todo whose id is decided; or to what is wrong with each field, by the contract."""

import json
from typing import NamedTuple
from uuid import UUID, uuid5

from edge_api.contract import InvalidPayload, TodoCreated, parse_json
from todos.imports.lines import COLUMNS, LINE, Line


class Rejected(NamedTuple):
    """`todo` can be edited and imported; it has the line's id, so it is one todo however often that happens."""

    number: int
    errors: dict[str, str]
    original: str
    todo: dict[str, object]


def check(line: Line, namespace: UUID) -> TodoCreated | Rejected:
    """`namespace` is that of the ids of lines that say none: from the line's number, the same in every run."""
    event, errors = _parse(line)
    if event and not errors:
        return event if event.id else event.model_copy(update={"id": _id_of(line, namespace)})
    todo = {"title": ""} | line.fields
    todo["id"] = todo.get("id") or str(_id_of(line, namespace))
    return Rejected(line.number, errors, line.original, todo)


def _parse(line: Line) -> tuple[TodoCreated | None, dict[str, str]]:
    if LINE in line.errors:
        return None, line.errors
    fields = {name: line.fields[name] for name in COLUMNS if name in line.fields}
    try:
        return parse_json(TodoCreated, json.dumps(fields).encode()), line.errors
    except InvalidPayload as exc:
        return None, dict(exc.errors) | line.errors


def _id_of(line: Line, namespace: UUID) -> UUID:
    return uuid5(namespace, str(line.number))
