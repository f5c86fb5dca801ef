"""Kafka for a command, which says itself what is wrong with it: kafka-python's own log lines would bury that."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from edge_api.contract import KafkaSettings
from todos.kafka import KafkaLog


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
    logger = logging.getLogger("kafka")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
