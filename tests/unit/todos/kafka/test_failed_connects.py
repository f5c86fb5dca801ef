"""During an outage of Kafka no client that fails to connect leaves a thread or a file descriptor behind."""

import gc
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.ports import free_port
from edge_api.shared.kafka_settings import KafkaSettings
from todos.event_log import LogUnavailable
from todos.kafka.admin import KafkaAdmin

FAILURES = 3


def in_use() -> tuple[int, int]:
    gc.collect()  # kafka-python leaves the socket of a refused connection to the collector
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    "connect",
    [KafkaAdmin.partitions, KafkaAdmin.published_offsets, lambda admin: admin.commit_offsets({0: 1})],
    ids=["the topic", "the group's offsets", "publishing"],
)
def test_failed_connects_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, connect: Callable[[KafkaAdmin], object]
) -> None:
    monkeypatch.setattr("todos.kafka.admin.ADMIN_TIMEOUT_MS", 50)
    caplog.set_level(logging.CRITICAL, "kafka")  # what it logs, and pytest keeps, refers to sockets
    admin = KafkaAdmin(KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}", topic="t", group="g"))
    before = in_use()
    for _ in range(FAILURES):
        with pytest.raises(LogUnavailable):
            connect(admin)
    assert before == in_use()
