"""One change to many dead letters: a field of their JSON is set, and each is kept only if it is valid then."""

import json
from typing import Any

from django.db import transaction

from edge_api.contract import InvalidPayload
from todos.dead_letters import service as dead_letters
from todos.dead_letters.service import Refused
from todos.models import DeadLetter


class NoField(ValueError):
    """The payload has no place for the field; the message says why."""


class InvalidChange(ValueError):
    """No such field or value can be set; the message says why."""


class Change:
    """Set the field at a dotted path, `title` or `meta.source`, to a value in JSON."""

    def __init__(self, path: str, value: str) -> None:
        """Raises InvalidChange."""
        self.names = [name.strip() for name in path.split(".")]
        if not all(self.names):
            raise InvalidChange("Field: a name, or names with dots between them.")
        try:
            self.value = json.loads(value)
        except (ValueError, RecursionError):
            raise InvalidChange('Value: must be JSON, a text in quotes: "Do homework".') from None

    def apply(self, payload: bytes) -> bytes:
        """Raises NoField where the payload is no object, or the path leads through something else."""
        try:
            body = json.loads(payload)
        except (ValueError, RecursionError):
            raise NoField("body: must be JSON; edit it by hand") from None
        *parents, name = self.names
        within: Any = body
        for parent in parents:
            within = within.setdefault(parent, {}) if isinstance(within, dict) else None
        if not isinstance(within, dict):
            raise NoField(f"no object to set {'.'.join(self.names)} in")
        within[name] = self.value
        return json.dumps(body, ensure_ascii=False).encode(errors="surrogatepass")


@transaction.atomic
def edit_field(letter_id: int, change: Change, *, by: str) -> None:
    """Raises Refused; then the letter stays as it is."""
    dead_letters.check_discard(letter_id)  # it is there, and open
    letter = DeadLetter.objects.select_for_update().get(pk=letter_id)
    try:
        dead_letters.edit(letter_id, change.apply(dead_letters.payload_of(letter)), by=by)
    except (InvalidPayload, NoField) as exc:
        raise Refused(f"{letter}: not valid: {exc}") from exc
