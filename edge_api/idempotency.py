"""The header Idempotency-Key: with it, a request may be sent again without making a second todo."""

import re
from http import HTTPStatus

from starlette.types import Scope
from uuid_utils import uuid7

from edge_api.contract import FieldError, id_from_key
from edge_api.problems import Problem

HTTP_HEADER = b"idempotency-key"
_VALID_KEY = re.compile(rb"[!-~]{1,255}")


def asked_key(scope: Scope) -> str | None:
    """The client's, or None where it sent none. Raises Problem for one that cannot be a key: a wrong one that was
    passed over would let a replay make a second todo."""
    found = [value for name, value in scope["headers"] if name == HTTP_HEADER]
    if not found:
        return None
    if len(found) > 1 or not _VALID_KEY.fullmatch(found[0]):
        error = FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters, and sent once")
        raise Problem(HTTPStatus.BAD_REQUEST, "The idempotency key is not valid.", errors=[error])
    return bytes(found[0]).decode()


def new_id(owner: str, key: str | None, item: int | None = None) -> str:
    return str(uuid7()) if key is None else str(id_from_key(owner, key, item))
