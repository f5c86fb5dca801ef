"""What an Idempotency-Key makes of a todo: an id that a replay gets again, and the fingerprint of its content.

The id needs no memory, and the fingerprint goes with the record: who stores it tells another content from a replay.
"""

from hashlib import blake2b
from uuid import UUID, uuid5

from edge_api.contract.events import TodoFields
from edge_api.contract.headers import FINGERPRINT_LENGTH

_NAMESPACE = UUID("5b1f7c0e-3d0a-4a66-9c1b-2f7d4e8a9b53")


def id_from_key(owner: str, key: str, item: int | None = None) -> UUID:
    """Of the owner's todo under this key; of a batch's todo, `item` is its place in the batch, from 0.

    Neither an owner nor a key holds U+0000, so no two of them run into one another.
    """
    return uuid5(_NAMESPACE, f"{owner}\0{key}" if item is None else f"{owner}\0{key}\0{item}")


def fingerprint(todo: TodoFields) -> str:
    """Of what would be stored: no description and an empty one are the same."""
    content = f"{todo.title}\0{todo.description or ''}"
    return blake2b(content.encode(), digest_size=FINGERPRINT_LENGTH // 2).hexdigest()
