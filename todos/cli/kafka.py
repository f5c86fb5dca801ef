"""Kafka for a command, which says itself what is wrong with it: kafka-python's own log lines would bury that."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from edge_api.shared.kafka_settings import KafkaSettings
from todos.kafka.consumer import KafkaLog


@contextmanager
def opened_log(kafka: KafkaSettings | None = None) -> Iterator[KafkaLog]:
    log = KafkaLog(kafka or settings.KAFKA)
    try:
        with quiet_kafka():
            yield log
    finally:
        log.close()


@contextmanager
def quiet_kafka() -> Iterator[None]:
    """Its filters go on to see what it logs: the advice about TLS and SASL comes from there."""
    logger, nowhere = logging.getLogger("kafka"), logging.NullHandler()
    before = logger.propagate
    logger.addHandler(nowhere)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(nowhere)
