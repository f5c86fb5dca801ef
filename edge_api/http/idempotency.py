"""The header Idempotency-Key: with it, a request may be sent again without making a second todo."""

from http import HTTPStatus

from starlette.types import Scope
from uuid_utils import uuid7

from edge_api.contract import FieldError, id_from_key
from edge_api.contract.headers import IDEMPOTENCY_KEY, VALID_IDEMPOTENCY_KEY
from edge_api.problems import Problem

HTTP_HEADER = IDEMPOTENCY_KEY.lower().encode()


def asked_key(scope: Scope) -> str | None:
    """The client's, or None where it sent none. Raises Problem for one that cannot be a key: a wrong one that was
    passed over would let a replay make a second todo."""
    key = None
    for name, value in scope["headers"]:
        if name == HTTP_HEADER:
            if key is not None or not VALID_IDEMPOTENCY_KEY.fullmatch(value):
                error = FieldError(IDEMPOTENCY_KEY, "must be 1 to 255 visible ASCII characters, and sent once")
                raise Problem(HTTPStatus.BAD_REQUEST, "The idempotency key is not valid.", errors=[error])
            key = bytes(value).decode()
    return key


def new_id(owner: str, key: str | None, item: int | None = None) -> str:
    return str(uuid7()) if key is None else str(id_from_key(owner, key, item))
