"""How an Idempotency-Key identifies a todo: its id is derived from the key, and a fingerprint tells its content.

The edge keeps no state for that. The fingerprint is a header of the record, by which the consumer tells different
content under the same key from a replay.
"""

from hashlib import blake2b
from uuid import UUID, uuid5

from edge_api.contract.events import TodoFields
from edge_api.contract.headers import FINGERPRINT_LENGTH

_NAMESPACE = UUID("5b1f7c0e-3d0a-4a66-9c1b-2f7d4e8a9b53")


def id_from_key(owner: str, key: str, index: int | None = None) -> UUID:
    """Return the id of the owner's todo under this key; `index` is the position of a batch's todo, from 0.

    Neither an owner nor a key contains U+0000, so different pairs never yield the same name.
    """
    return uuid5(_NAMESPACE, f"{owner}\0{key}" if index is None else f"{owner}\0{key}\0{index}")


def fingerprint(todo: TodoFields) -> str:
    """Return a hash of the content that would be stored; no description and an empty one are the same."""
    content = f"{todo.title}\0{todo.description or ''}"
    return blake2b(content.encode(), digest_size=FINGERPRINT_LENGTH // 2).hexdigest()
