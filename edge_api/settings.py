"""The edge's configuration: the only place on this side that reads the environment."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl, TypeAdapter

from edge_api.contract import MAX_BATCH_BYTES, MAX_BATCH_TODOS, ConfigError, KafkaSettings, read_env

# Every answer is promised within 5 s; the rest is room for parsing, a busy machine and the watchdog's tick.
LONGEST_WAIT_SECONDS = 4.5

_HTTP_URL = TypeAdapter(HttpUrl)


def _base_url(value: str) -> str:
    url = _HTTP_URL.validate_python(value)
    if url.query is not None or url.fragment is not None:
        raise ValueError("must not contain a query or a fragment")
    return str(url).rstrip("/")  # in ASCII, and safe in JSON and in a header


def _origins(value: str) -> str:
    for origin in filter(None, value.split(",")):
        url = _HTTP_URL.validate_python(origin)
        if str(url) != f"{origin}/":
            raise ValueError("must be origins such as https://todo.example, separated by commas")
    return value


def _tracing(value: bool) -> bool:
    """FastAPI brings a part of OpenTelemetry, but not the part that sends."""
    if value and find_spec("opentelemetry.sdk") is None:
        raise ValueError("needs OpenTelemetry; install requirements/tracing.txt")
    return value


class EdgeSettings(BaseModel):
    """Fields are the EDGE_* variables: `port` is EDGE_PORT, and so on."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(7007, ge=1, le=65_535)
    public_api_url: Annotated[str, AfterValidator(_base_url)] = "http://localhost:7008"
    ack_timeout_seconds: float = Field(3.0, ge=0.1, le=LONGEST_WAIT_SECONDS)
    # The largest batch has to fit in, with what the edge adds to each todo.
    max_in_flight_records: int = Field(20_000, ge=MAX_BATCH_TODOS)
    max_in_flight_bytes: int = Field(64 * 1024 * 1024, ge=2 * MAX_BATCH_BYTES)
    cors_origins: Annotated[str, AfterValidator(_origins)] = ""  # separated by commas
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = "INFO"
    log_format: Annotated[Literal["line", "json"], BeforeValidator(str.lower)] = "line"
    tracing: Annotated[bool, AfterValidator(_tracing)] = False


class Settings(NamedTuple):
    edge: EdgeSettings
    kafka: KafkaSettings


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises ConfigError, which names every wrong variable of both groups."""
    problems = []
    try:
        edge = read_env(EdgeSettings, "EDGE_", environ)
    except ConfigError as exc:
        problems.append(str(exc))
    try:
        kafka = read_env(KafkaSettings, "KAFKA_", environ)
    except ConfigError as exc:
        problems.append(str(exc))
    if problems:
        raise ConfigError("\n".join(problems))
    return Settings(edge, kafka)
