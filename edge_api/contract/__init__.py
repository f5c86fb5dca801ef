"""The contract between edge and consumer: the published event, ids, headers, tokens, and URLs of the API.

It imports pydantic and the standard library only, so that either side can be replaced without the other. The exception
is `tokens`, which imports PyJWT too.
"""

from edge_api.contract.events import (
    DESCRIPTION_MAX,
    EARLIEST,
    LATEST,
    MAX_BATCH_BYTES,
    MAX_BATCH_TODOS,
    MAX_BODY_BYTES,
    OWNER_MAX,
    TITLE_MAX,
    VERSION,
    Description,
    FieldError,
    InvalidPayload,
    Title,
    TodoCreated,
    TodoFields,
    UnreadablePayload,
    encode_created,
    id_from_position,
    load_json,
    newer_version,
    parse_json,
    record_key,
    validate,
)
from edge_api.contract.idempotency import fingerprint, id_from_key

__all__ = [
    "DESCRIPTION_MAX",
    "EARLIEST",
    "LATEST",
    "MAX_BATCH_BYTES",
    "MAX_BATCH_TODOS",
    "MAX_BODY_BYTES",
    "OWNER_MAX",
    "TITLE_MAX",
    "VERSION",
    "Description",
    "FieldError",
    "InvalidPayload",
    "Title",
    "TodoCreated",
    "TodoFields",
    "UnreadablePayload",
    "encode_created",
    "fingerprint",
    "id_from_key",
    "id_from_position",
    "load_json",
    "newer_version",
    "parse_json",
    "record_key",
    "validate",
]
