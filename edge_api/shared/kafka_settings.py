"""The KAFKA_* variables of both sides: names, addresses and credentials."""

import ssl
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

# Kafka's own rule for topic and group names.
NAME_PATTERN = r"^[a-zA-Z0-9._-]{1,249}$"


class KafkaSettings(BaseModel):
    """The KAFKA_* variables: the field `topic` is KAFKA_TOPIC, and so on."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    bootstrap_servers: str = "localhost:9092"
    topic: str = Field("todo-create", pattern=NAME_PATTERN)
    group: str = Field("todo", pattern=NAME_PATTERN)
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None

    @field_validator("topic")
    @classmethod
    def _is_not_a_directory(cls, value: str) -> str:
        if value in {".", ".."}:
            raise ValueError("Kafka forbids the names . and ..")
        return value

    @field_validator("bootstrap_servers")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        for server in value.split(","):
            host, _, port = server.strip().rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError("must be host:port, several separated by commas")
        return value

    @field_validator("ssl_cafile", "ssl_certfile", "ssl_keyfile")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("no such file")
        return value

    @field_validator("ssl_cafile")
    @classmethod
    def _certificates(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=value)
            except (ssl.SSLError, UnicodeDecodeError):
                raise ValueError("must contain a certificate in PEM") from None
        return value

    @model_validator(mode="after")
    def _sasl_is_complete(self) -> Self:
        if self.security_protocol.startswith("SASL"):
            for field in ("sasl_mechanism", "sasl_username", "sasl_password"):
                if getattr(self, field) is None:
                    raise ValueError(
                        f"KAFKA_{field.upper()}: required when KAFKA_SECURITY_PROTOCOL is {self.security_protocol}"
                    )
        return self

    def client_options(self) -> dict[str, Any]:
        """Return the keyword arguments that all clients of kafka-python share."""
        options: dict[str, Any] = {
            "bootstrap_servers": [server.strip() for server in self.bootstrap_servers.split(",")],
            # Without it the constructor asks the broker, and blocks while that is down.
            "api_version": (4, 0),
            "reconnect_backoff_max_ms": 2000,
            "security_protocol": self.security_protocol,
        }
        if self.sasl_password is not None and self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password.get_secret_value()
        for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            if (path := getattr(self, name)) is not None:
                options[name] = str(path)
        return options
