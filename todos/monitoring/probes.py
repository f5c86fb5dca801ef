"""Kafka and Redis, asked in threads of their own; each answer serves every page of this process for a few seconds."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings
from redis import Redis

from edge_api.shared.kafka_settings import KafkaSettings
from todos.event_log import LogUnavailable
from todos.kafka.consumer import KafkaLog
from todos.monitoring.lag import LogView, view_log
from todos.monitoring.probe import Answer, Probe
from todos.monitoring.produced import AcceptedOverTime
from todos.monitoring.queries import Series

WAIT_SECONDS = 1.0
RATE_WINDOWS = (60, 900)  # seconds


@dataclass(frozen=True)
class KafkaView:
    """`accepted_per_minute` by window in seconds: offsets that were added since, over that time.

    `accepted_hour` and `accepted_day` are None until a process that has just begun knows them.
    """

    log: LogView
    accepted_per_minute: Mapping[int, float]
    accepted_hour: Series | None = None
    accepted_day: Series | None = None


@dataclass(frozen=True)
class RedisView:
    """`waiting`: ticks in the queue that no worker has taken."""

    waiting: int


class Services:
    """The two probes. Starting both before waiting for either is what makes them run at the same time."""

    def __init__(self, kafka: KafkaSettings, redis_url: str, *, wait_seconds: float = WAIT_SECONDS) -> None:
        """`wait_seconds` is what `answers` waits, for both together."""
        self._kafka, self._wait_seconds = kafka, wait_seconds
        self._log: KafkaLog | None = None
        self._accepted = AcceptedOverTime()
        self._redis = Redis.from_url(redis_url, socket_timeout=WAIT_SECONDS, socket_connect_timeout=WAIT_SECONDS)
        self.kafka_probe: Probe[KafkaView] = Probe()
        self.redis_probe: Probe[RedisView] = Probe()

    def start(self, positions: Mapping[int, int]) -> float:
        """`positions` are the next offsets of the ledger. Returns when to wait no longer, for `answers`."""
        self.kafka_probe.start(lambda: self._ask_kafka(positions))
        self.redis_probe.start(self._ask_redis)
        return time.monotonic() + self._wait_seconds

    def answers(self, deadline: float) -> tuple[Answer[KafkaView], Answer[RedisView]]:
        return self.kafka_probe.answer(deadline), self.redis_probe.answer(deadline)

    def close(self) -> None:
        """Waits for the questions under way."""
        for probe in (self.kafka_probe, self.redis_probe):
            probe.join()
        if self._log:
            self._log.close()
        self._redis.close()

    def _ask_kafka(self, positions: Mapping[int, int]) -> KafkaView:
        self._log = self._log or KafkaLog(self._kafka)
        try:
            view = view_log(self._log, positions)
            series = self._accepted.series(self._log, view.spans)
            return KafkaView(view, accepted_per_minute(self._log, view), *series)
        except LogUnavailable:
            self._log.close()
            self._log = None
            raise

    def _ask_redis(self) -> RedisView:
        return RedisView(int(self._redis.llen(settings.CELERY_TASK_DEFAULT_QUEUE)))


def accepted_per_minute(log: KafkaLog, view: LogView) -> dict[int, float]:
    rates = {}
    for seconds in RATE_WINDOWS:
        since = int((time.time() - seconds) * 1000)
        first = log.offsets_at(view.spans, since)
        added = sum(max(view.spans[p].end - offset, 0) for p, offset in first.items() if offset is not None)
        rates[seconds] = added * 60 / seconds
    return rates


_services: dict[tuple[KafkaSettings, str], Services] = {}


def services() -> Services:
    """Of this process; connections are made at first use, after gunicorn has forked."""
    key = (settings.KAFKA, settings.CELERY_BROKER_URL)
    if key not in _services:
        _services[key] = Services(*key)
    return _services[key]


def close_services() -> None:
    while _services:
        _services.popitem()[1].close()
