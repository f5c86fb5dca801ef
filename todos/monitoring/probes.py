"""Kafka and Redis, queried in background threads so that a service that hangs delays no page.

Each result serves every page of this process for a few seconds. Redis is written to, since a replica or a full Redis
answers every question.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from django.conf import settings
from redis import ReadOnlyError, Redis, ResponseError

from edge_api.shared.kafka_settings import KafkaSettings
from todos.event_log import LogUnavailable
from todos.kafka.consumer import KafkaLog
from todos.monitoring.lag import LogState, fetch_log_state
from todos.monitoring.problems import LastSeen
from todos.monitoring.produced import AcceptedOverTime, accepted_per_minute
from todos.monitoring.queries import Series

T = TypeVar("T")

FRESH_SECONDS = 3.0  # a younger result is not queried for again, however many pages are open
USABLE_SECONDS = 15.0  # the last result of a slow service counts for this long
WAIT_SECONDS = 1.0
FIRST_WAIT_SECONDS = 5.0  # a process that has just started has to connect, which proves nothing against the service
REDIS_KEY, REDIS_KEY_SECONDS = "todo-pipeline-probe", 60


@dataclass(frozen=True)
class ProbeResult(Generic[T]):
    """What a service answered; `value` is None exactly when there is an `error`."""

    value: T | None
    error: str = ""
    at: float = field(default_factory=time.time)
    failing_since: float | None = None  # when this process first found it failing

    @property
    def age(self) -> float:
        """Seconds since the service answered or failed."""
        return time.time() - self.at


class Probe(Generic[T]):
    """Queries one service: one query at a time, whose result all threads of this process share."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._last: ProbeResult[T] | None = None
        self._started_at = 0.0  # of the last query, by time.monotonic

    def start(self, query: Callable[[], T]) -> None:
        """Start the query in a thread, unless the last result is fresh or another query is running."""
        with self._changed:
            if self._thread or (self._last and self._last.age < FRESH_SECONDS):
                return
            self._started_at = time.monotonic()
            self._thread = threading.Thread(target=self._run, args=[query], daemon=True, name="pipeline-probe")
            self._thread.start()

    def result(self, deadline: float) -> ProbeResult[T]:
        """Wait for the running query until `deadline` (time.monotonic), and for the first one FIRST_WAIT_SECONDS.

        Do not wait if the last one failed.
        """
        with self._changed:
            if self._last is None:
                deadline = max(deadline, self._started_at + FIRST_WAIT_SECONDS)
            if not (self._last and self._last.error):
                self._changed.wait_for(lambda: self._thread is None, timeout=max(deadline - time.monotonic(), 0))
            if self._last and (self._thread is None or self._last.error or self._last.age < USABLE_SECONDS):
                return self._last
            return ProbeResult(None, "does not answer in time")

    def join(self) -> None:
        """Wait for the running query, if there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None)

    def _run(self, query: Callable[[], T]) -> None:
        try:
            result = ProbeResult(query())
        except Exception as exc:  # noqa: BLE001 - operators must see every error, and the next query must start
            since = (self._last and self._last.failing_since) or time.time()
            result = ProbeResult(None, str(exc).rstrip(".") or type(exc).__name__, failing_since=since)
        with self._changed:
            self._last, self._thread = result, None
            self._changed.notify_all()


@dataclass(frozen=True)
class KafkaState:
    """What Kafka answered.

    `published` are the group's offsets, None while its coordinator does not answer. `accepted_per_minute` is keyed by
    its window in seconds. `accepted_hour` and `accepted_day` are None until a process that has just started has looked
    up all their offsets.
    """

    log: LogState
    published: Mapping[int, int] | None
    accepted_per_minute: Mapping[int, float]
    accepted_hour: Series | None = None
    accepted_day: Series | None = None


@dataclass(frozen=True)
class RedisState:
    """What Redis answered: the number of ticks that wait in the queue for a worker, and why it refuses a write."""

    waiting: int
    refusal: str = ""
    is_read_only: bool = False


class Services:
    """The probes of Kafka and Redis. Both run at the same time, since `start` starts them before `results` waits."""

    def __init__(self, kafka: KafkaSettings, redis_url: str, *, wait_seconds: float = WAIT_SECONDS) -> None:
        """Connect to neither yet. `wait_seconds` is how long `results` waits for both together."""
        self._wait_seconds = wait_seconds
        self._log = KafkaLog(kafka)  # used by the thread of the Kafka probe alone
        self._accepted = AcceptedOverTime()
        self._redis = Redis.from_url(redis_url, socket_timeout=WAIT_SECONDS, socket_connect_timeout=WAIT_SECONDS)
        self.kafka_probe: Probe[KafkaState] = Probe()
        self.redis_probe: Probe[RedisState] = Probe()
        self.last_seen = LastSeen()

    def start(self, positions: Mapping[int, int]) -> float:
        """Start both queries; `positions` are the ledger's next offsets. Return the deadline to pass to `results`."""
        self.kafka_probe.start(lambda: self._query_kafka(positions))
        self.redis_probe.start(self._query_redis)
        return time.monotonic() + self._wait_seconds

    def results(self, deadline: float) -> tuple[ProbeResult[KafkaState], ProbeResult[RedisState]]:
        """Return both results, waiting for running queries until `deadline` (time.monotonic)."""
        return self.kafka_probe.result(deadline), self.redis_probe.result(deadline)

    def close(self) -> None:
        """Wait for the running queries and close the connections."""
        for probe in (self.kafka_probe, self.redis_probe):
            probe.join()
        self._log.close()
        self._redis.close()

    def _query_kafka(self, positions: Mapping[int, int]) -> KafkaState:
        try:
            state = fetch_log_state(self._log, positions)
            hour, day = self._accepted.series(self._log, state.ranges)
            return KafkaState(state, self._published(), accepted_per_minute(self._log, state.ranges), hour, day)
        except LogUnavailable:
            self._log.close()  # the next query connects again
            raise

    def _published(self) -> Mapping[int, int] | None:
        try:
            return self._log.published_offsets()
        except LogUnavailable:  # nothing waits for the coordinator but these offsets, which are a copy for tools
            return None

    def _query_redis(self) -> RedisState:
        waiting = int(self._redis.llen(settings.CELERY_TASK_DEFAULT_QUEUE))
        try:
            self._redis.set(REDIS_KEY, 1, ex=REDIS_KEY_SECONDS)
        except ResponseError as exc:
            return RedisState(waiting, str(exc).rstrip("."), isinstance(exc, ReadOnlyError))
        return RedisState(waiting)


_services: dict[tuple[KafkaSettings, str], Services] = {}


def services() -> Services:
    """Return the probes that this process shares; they connect at first use."""
    key = (settings.KAFKA, settings.CELERY_BROKER_URL)
    if key not in _services:
        _services[key] = Services(*key)
    return _services[key]


def close_services() -> None:
    """Close the probes that this process shares, so that the next page queries both services again."""
    while _services:
        _services.popitem()[1].close()
