"""Set one field of many dead letters' JSON, and keep the edit of each letter that is valid afterwards."""

import json
from typing import Any

from django.db import transaction

from edge_api.contract import InvalidPayload
from todos.dead_letters import service as dead_letters
from todos.dead_letters.service import ActionRefused
from todos.models import DeadLetter


class FieldNotSettable(ValueError):
    """Raised when the field cannot be set in a payload; the message says why."""


class InvalidFieldEdit(ValueError):
    """Raised when the field or the value cannot be set in any payload; the message says why."""


class FieldEdit:
    """Sets the field at a dotted path, such as `title` or `meta.source`, to a JSON value."""

    def __init__(self, path: str, value: str) -> None:
        """Raises InvalidFieldEdit."""
        self.names = [name.strip() for name in path.split(".")]
        if not all(self.names):
            raise InvalidFieldEdit("Field: must be a name, or names separated by dots.")
        try:
            self.value = json.loads(value)
        except (ValueError, RecursionError):
            raise InvalidFieldEdit('Value: must be JSON. Put a text into quotes: "Do homework".') from None

    def apply(self, payload: bytes) -> bytes:
        """Return the payload with the field set. Raises FieldNotSettable if the path leads through a non-object."""
        try:
            body = json.loads(payload)
        except (ValueError, RecursionError):
            raise FieldNotSettable("body: must be JSON; edit it by hand") from None
        *parents, name = self.names
        target: Any = body
        for parent in parents:
            target = target.setdefault(parent, {}) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise FieldNotSettable(f"there is no object to set {'.'.join(self.names)} in")
        target[name] = self.value
        return json.dumps(body, ensure_ascii=False).encode(errors="surrogatepass")


@transaction.atomic
def edit_field(letter_id: int, field_edit: FieldEdit, *, by: str) -> None:
    """Set the field and keep the edited payload. Raises ActionRefused."""
    dead_letters.check_discard(letter_id)  # it exists, and is open
    letter = DeadLetter.objects.select_for_update().get(pk=letter_id)
    try:
        dead_letters.edit(letter_id, field_edit.apply(dead_letters.payload_of(letter)), by=by)
    except (InvalidPayload, FieldNotSettable) as exc:
        raise ActionRefused(f"{letter}: not valid: {exc}") from exc
