"""What edge and consumer agree on: the event, the Kafka names and the connection settings.

Imports pydantic and the standard library only, so that either side can be replaced without the other.
"""

from edge_api.contract.advice import ADVICE_FILTERS, ADVICE_LOGGERS, with_advice
from edge_api.contract.connection import KafkaSettings
from edge_api.contract.env import ConfigError, read_env
from edge_api.contract.events import (
    DESCRIPTION_MAX,
    EARLIEST,
    LATEST,
    MAX_BATCH_BYTES,
    MAX_BATCH_TODOS,
    MAX_BODY_BYTES,
    TITLE_MAX,
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
    parse_json,
    record_key,
    validate,
)

__all__ = [
    "ADVICE_FILTERS",
    "ADVICE_LOGGERS",
    "DESCRIPTION_MAX",
    "EARLIEST",
    "LATEST",
    "MAX_BATCH_BYTES",
    "MAX_BATCH_TODOS",
    "MAX_BODY_BYTES",
    "TITLE_MAX",
    "ConfigError",
    "Description",
    "FieldError",
    "InvalidPayload",
    "KafkaSettings",
    "Title",
    "TodoCreated",
    "TodoFields",
    "UnreadablePayload",
    "encode_created",
    "id_from_position",
    "load_json",
    "parse_json",
    "read_env",
    "record_key",
    "validate",
    "with_advice",
]
