"""What edge and consumer agree on: the event, the Kafka names and the connection settings.

Imports pydantic and the standard library only, so that either side can be replaced without the other. What makes a
token valid is in `tokens`, which imports PyJWT too.
"""

from edge_api.contract.advice import ADVICE_FILTERS, ADVICE_LOGGERS, with_advice
from edge_api.contract.connection import KafkaSettings
from edge_api.contract.env import ConfigError, is_loopback, read_env
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
from edge_api.contract.idempotency import FINGERPRINT_HEADER, FINGERPRINT_LENGTH, fingerprint, id_from_key
from edge_api.contract.urls import check_redis_url, check_url, is_origin

__all__ = [
    "ADVICE_FILTERS",
    "ADVICE_LOGGERS",
    "DESCRIPTION_MAX",
    "EARLIEST",
    "FINGERPRINT_HEADER",
    "FINGERPRINT_LENGTH",
    "LATEST",
    "MAX_BATCH_BYTES",
    "MAX_BATCH_TODOS",
    "MAX_BODY_BYTES",
    "OWNER_MAX",
    "TITLE_MAX",
    "VERSION",
    "ConfigError",
    "Description",
    "FieldError",
    "InvalidPayload",
    "KafkaSettings",
    "Title",
    "TodoCreated",
    "TodoFields",
    "UnreadablePayload",
    "check_redis_url",
    "check_url",
    "encode_created",
    "fingerprint",
    "id_from_key",
    "id_from_position",
    "is_loopback",
    "is_origin",
    "load_json",
    "newer_version",
    "parse_json",
    "read_env",
    "record_key",
    "validate",
    "with_advice",
]
