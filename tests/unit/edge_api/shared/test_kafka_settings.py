"""A wrong variable is told by its name, without its value, on one line."""

import pytest

from edge_api.shared.env import ConfigError, read_env
from edge_api.shared.kafka_settings import KafkaSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:0"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:65536"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092,"),
        ("KAFKA_TOPIC", "to do"),
        ("KAFKA_TOPIC", "."),
        ("KAFKA_TOPIC", ".."),
        ("KAFKA_TOPIC", "x" * 250),
        ("KAFKA_GROUP", "ä"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("KAFKA_SASL_MECHANISM", "GSSAPI"),
        ("KAFKA_SSL_CAFILE", "/no/such/file"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_env(KafkaSettings, "KAFKA_", {name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message


@pytest.mark.parametrize("missing", ["KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"])
def test_sasl_without_its_credentials_is_refused(missing: str) -> None:
    environ = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": "ada",
        "KAFKA_SASL_PASSWORD": "s3cret",
    }
    del environ[missing]
    with pytest.raises(ConfigError, match=f"^{missing}: required"):
        read_env(KafkaSettings, "KAFKA_", environ)


def test_a_secret_is_never_shown() -> None:
    settings = KafkaSettings.model_validate(
        {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_username": "ada",
            "sasl_password": "s3cret",
        }
    )
    assert "s3cret" not in repr(settings)
    assert settings.client_options()["sasl_plain_password"] == "s3cret"


def test_empty_variables_take_the_default() -> None:
    assert read_env(KafkaSettings, "KAFKA_", {"KAFKA_TOPIC": " "}) == KafkaSettings()
