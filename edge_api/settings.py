"""The edge's settings: the only place on this side that reads the environment."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    TypeAdapter,
    model_validator,
)

from edge_api.contract import MAX_BATCH_BYTES, MAX_BATCH_TODOS
from edge_api.shared.addresses import is_loopback
from edge_api.shared.env import ConfigError, read_env
from edge_api.shared.kafka_settings import KafkaSettings
from edge_api.shared.urls import check_redis_url, is_origin

# Every response is promised within 5 s. A request's waits for keys, other requests and Kafka end within this time; the
# rest is for parsing, a busy machine and the supervisor's interval.
LONGEST_WAIT_SECONDS = 4.5

_HTTP_URL = TypeAdapter(HttpUrl)


def _public_url(value: str) -> HttpUrl:
    """Validate a URL that is shown to clients or logged, and so must not contain a secret."""
    url = _HTTP_URL.validate_python(value)
    if url.username is not None or url.password is not None:
        raise ValueError("must not contain a user or a password")
    return url


def _base_url(value: str) -> str:
    url = _public_url(value)
    if url.query is not None or url.fragment is not None:
        raise ValueError("must not contain a query or a fragment")
    return str(url).rstrip("/")  # ASCII, and needs no escaping in JSON or in a header


def _jwks(value: str) -> str:
    if "://" in value:
        _public_url(value)
    elif not Path(value).is_file():
        raise ValueError("must be a URL or an existing file")
    return value


def _origins(value: str) -> str:
    if not all(map(is_origin, filter(None, value.split(",")))):
        raise ValueError("must be origins such as https://todo.example, separated by commas")
    return value


def _tracing(value: bool) -> bool:
    """Refuse tracing without the exporter: FastAPI depends on only a part of OpenTelemetry."""
    if value and find_spec("opentelemetry.sdk") is None:
        raise ValueError("needs OpenTelemetry; install requirements/tracing.txt")
    return value


def _networks(value: str) -> str:
    """Validate networks in uvicorn's format, but refuse its `*`, by which any client could choose its address."""
    for network in value.split(","):
        ip_network(network.strip())
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    check_redis_url(url)
    if urlsplit(url).query:
        _check_redis_options(url)
    return value


def _check_redis_options(url: str) -> None:
    from redis.asyncio import ConnectionPool  # slow to import, and optional

    try:
        pool = ConnectionPool.from_url(url)
        pool.connection_class(**pool.connection_kwargs)  # does not connect yet
    except Exception:  # noqa: BLE001 - any error may show a password
        raise ValueError("has an invalid or unknown option after the ?") from None


class EdgeSettings(BaseModel):
    """The EDGE_* variables: the field `port` is EDGE_PORT, and so on."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(7007, ge=1, le=65_535)
    public_api_url: Annotated[str, AfterValidator(_base_url)] = "http://localhost:7008"
    auth: Literal["token", "open"] = "token"
    jwks: Annotated[str, AfterValidator(_jwks)] | None = None
    jwks_max_age_seconds: float = Field(3600, ge=30, le=604_800)
    ack_timeout_seconds: float = Field(3.0, ge=0.1, le=LONGEST_WAIT_SECONDS)
    # At least the largest batch, with what the edge adds to each todo.
    max_in_flight_records: int = Field(20_000, ge=MAX_BATCH_TODOS)
    max_in_flight_bytes: int = Field(64 * 1024 * 1024, ge=2 * MAX_BATCH_BYTES)
    # Todos a second; 0 means no limit.
    rate_limit_per_owner: float = Field(0, ge=0, le=1_000_000)
    rate_limit_per_address: float = Field(0, ge=0, le=1_000_000)
    rate_limit_burst_seconds: float = Field(10, ge=1, le=3600)
    redis_url: Annotated[SecretStr | None, AfterValidator(_redis_url)] = None
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = ""
    max_connections: int = Field(4096, ge=1, le=1_000_000)
    cors_origins: Annotated[str, AfterValidator(_origins)] = ""  # separated by commas
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = "INFO"
    log_format: Annotated[Literal["line", "json"], BeforeValidator(str.lower)] = "line"
    tracing: Annotated[bool, AfterValidator(_tracing)] = False

    @model_validator(mode="after")
    def _check_auth(self) -> Self:
        if self.auth == "open" and not is_loopback(self.host):
            raise ValueError("EDGE_AUTH: must be token, unless EDGE_HOST is a loopback address")
        if self.auth == "token" and self.jwks is None:
            raise ValueError("EDGE_JWKS: required unless EDGE_AUTH is open; the file or URL of the tokens' public keys")
        return self


class Settings(NamedTuple):
    edge: EdgeSettings
    kafka: KafkaSettings


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read both groups of variables. Raises ConfigError, which names every invalid variable of both."""
    errors = []
    try:
        edge = read_env(EdgeSettings, "EDGE_", environ)
    except ConfigError as exc:
        errors.append(str(exc))
    try:
        kafka = read_env(KafkaSettings, "KAFKA_", environ)
    except ConfigError as exc:
        errors.append(str(exc))
    if errors:
        raise ConfigError("\n".join(errors))
    return Settings(edge, kafka)
