"""Celery's connection to Redis, which survives a fail-over and messages that are none."""

import logging
import time
from collections.abc import Callable
from typing import Any

from kombu.transport import redis
from redis.exceptions import DataError, InvalidResponse, ResponseError

logger = logging.getLogger(__name__)

# What kombu and Celery raise for a message that is not JSON, not base64, or lacks what every message has.
MALFORMED = (ValueError, TypeError, AttributeError, LookupError, RecursionError, DataError)

LOG_EVERY_SECONDS = 60.0


class Discards:
    """Counts discarded messages and logs the first one, then one line each LOG_EVERY_SECONDS."""

    def __init__(self) -> None:
        self._count, self._next_line = 0, 0.0

    def add(self, reason: Exception) -> None:
        """Count a message that was discarded because of `reason`."""
        self._count += 1
        if time.monotonic() >= self._next_line:
            cause = f"{type(reason).__name__}: {reason}"
            logger.warning("discarded %d messages of Redis that are no tasks; the last one: %.200s", self._count, cause)
            self._count, self._next_line = 0, time.monotonic() + LOG_EVERY_SECONDS


discards = Discards()


def check_headers(headers: dict[str, Any]) -> None:
    """Raise an error for a task that Celery would fail to start after it has reserved a child for it."""
    if "task" not in headers:
        return
    if not isinstance(headers.get("id"), str):
        raise TypeError("the header id must be text")
    match headers.get("timelimit"):
        case None | [int() | float() | None, int() | float() | None]:
            return
    raise ValueError("the header timelimit must be two numbers")


class Channel(redis.Channel):
    """Discards each message that cannot be a task. Otherwise it would end the worker, at every start anew."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.handlers = {command: self._discarding(read) for command, read in self.handlers.items()}

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[..., Any] | None, *args: Any, **kwargs: Any
    ) -> Any:
        def receive(message: Any) -> Any:
            try:
                check_headers(message.headers)
                return callback and callback(message)
            except MALFORMED as exc:
                discards.add(exc)
                return None if message.acknowledged else message.reject()

        return super().basic_consume(queue, no_ack, receive, *args, **kwargs)

    @staticmethod
    def _discarding(read: Callable[..., Any]) -> Callable[..., Any]:
        def read_or_discard(*args: Any, **kwargs: Any) -> Any:
            try:
                return read(*args, **kwargs)
            except MALFORMED as exc:
                discards.add(exc)  # Redis has removed it from the queue
                return True

        return read_or_discard


class Transport(redis.Transport):
    """Treats each refusal of Redis as a lost connection: READONLY, UNBLOCKED, out of memory. Celery then reconnects."""

    Channel = Channel
    connection_errors = (*redis.Transport.connection_errors, ResponseError, InvalidResponse)
