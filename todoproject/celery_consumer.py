"""Celery's consumer of the queue, which reports an outage of Redis by one line and its end by another."""

import logging
import time
from typing import Any

from celery.worker import consumer
from celery.worker.state import maybe_shutdown
from kombu import Connection

from edge_api.shared.outages import outage_of

logger = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0


class Consumer(consumer.Consumer):
    """Reconnects for as long as it takes; todoproject.logs drops Celery's own line for each attempt."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._outage = outage_of(logger, "Redis")
        super().__init__(*args, **kwargs)

    def ensure_connected(self, conn: Connection) -> Connection:
        """Wait until Redis accepts the connection."""
        connected = conn.ensure_connection(lambda exc, _interval: self._outage.begin(exc), callback=maybe_shutdown)
        self.first_connection_attempt = False
        return connected

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        self._wait_after(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        self._wait_after(exc)

    def on_ready(self) -> None:
        """Called after each connection, when the queue is consumed."""
        super().on_ready()
        self._outage.end()

    def _wait_after(self, exc: Exception) -> None:
        """Report the outage, and pause: a replica accepts each connection at once and then refuses the first write."""
        self._outage.begin(exc)
        maybe_shutdown()
        time.sleep(RECONNECT_SECONDS)
