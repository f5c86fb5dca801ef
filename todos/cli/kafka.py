"""Kafka for a command, which reports errors itself: kafka-python's own log lines would bury its message."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management.base import CommandError

from edge_api.shared.kafka_settings import KafkaSettings
from todos.event_log import LogUnavailable
from todos.kafka.consumer import KafkaLog


@contextmanager
def open_log(kafka: KafkaSettings | None = None) -> Iterator[KafkaLog]:
    """Open the topic of `kafka`, by default that of the settings, and close it at the end."""
    log = KafkaLog(kafka or settings.KAFKA)
    try:
        with quiet_kafka():
            yield log
    finally:
        log.close()


@contextmanager
def quiet_kafka() -> Iterator[None]:
    """Hide kafka-python's log lines. Its filters still see them: the advice about TLS and SASL comes from those."""
    logger, handler = logging.getLogger("kafka"), logging.NullHandler()
    was_propagating = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = was_propagating
        logger.removeHandler(handler)


def kafka_error(exc: LogUnavailable, *, returncode: int = 1) -> CommandError:
    """Return the error of a command that Kafka did not answer."""
    return CommandError(f"Kafka at {settings.KAFKA.bootstrap_servers}: {exc}", returncode=returncode)
