"""The variable to correct when Kafka refuses a connection; kafka-python names the cause only in its log."""

import logging
from typing import Any, ClassVar

# By words in the errors of kafka-python and OpenSSL.
_ADVICE = {
    "SaslAuthenticationFailed": "KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD: Kafka refuses them",
    "UnsupportedSaslMechanism": "KAFKA_SASL_MECHANISM: Kafka does not offer it",
    "unable to get local issuer": "KAFKA_SSL_CAFILE: does not hold who signed Kafka's certificate",
    "self-signed": "KAFKA_SSL_CAFILE: does not hold who signed Kafka's certificate",
    "ostname mismatch": "KAFKA_BOOTSTRAP_SERVERS: not the name in Kafka's certificate",
    "IP address mismatch": "KAFKA_BOOTSTRAP_SERVERS: not the address in Kafka's certificate",
    "certificate has expired": "Kafka's certificate has expired",
    "WRONG_VERSION_NUMBER": "KAFKA_SECURITY_PROTOCOL: Kafka does not speak TLS at this address",
}
# Kafka refuses some credentials by closing the connection, without an error.
_CLOSED = "KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD: Kafka closed the connection"


class KafkaAdvice(logging.Filter):
    """Add the advice to the log record, and keep it for messages which say that Kafka is not reachable."""

    latest: ClassVar[str] = ""  # empty if the last failure has no advice

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args if isinstance(record.args, tuple) else ()
        if args and isinstance(error := args[-1], Exception):
            text = f"{type(error).__name__}: {error}"
            advice = next((advice for words, advice in _ADVICE.items() if words in text), "")
            if "disconnected" in text and "SASL" in _protocol(args[0]):
                advice = _CLOSED
            if "Timeout" not in text and "TimedOut" not in text:  # a time-out does not tell the cause
                KafkaAdvice.latest = advice
            record.msg = with_advice(record.msg)
        return True


def _protocol(connection: Any) -> str:
    return str(getattr(connection, "config", {}).get("security_protocol", ""))


# For logging.config.dictConfig.
ADVICE_FILTERS: dict[str, Any] = {"kafka_advice": {"()": KafkaAdvice}}
ADVICE_LOGGERS: dict[str, Any] = {
    name: {"filters": ["kafka_advice"]} for name in ("kafka.net.connection", "kafka.net.manager")
}


def with_advice(problem: str) -> str:
    """Append the latest advice, if there is any."""
    return f"{problem} ({KafkaAdvice.latest})" if KafkaAdvice.latest else problem
