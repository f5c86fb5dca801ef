"""Every metric of the edge, for Prometheus.

Metrics are plain numbers, changed on the event loop only. prometheus_client's own counters and histogram lock each
change, which costs a sixth of a request's CPU time. Labels are bounded: two routes, the outcomes, and the statuses.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

ACK_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]  # seconds
# Kafka has the todo; its content is wrong; it was not read, for want of a token or of room; Kafka did not confirm it.
OUTCOMES = ("accepted", "rejected", "refused", "unconfirmed")


class Now(NamedTuple):
    """The values of the gauges at the time of a scrape."""

    is_ready: bool
    todos_in_flight: int
    bytes_in_flight: int


class Metrics(Collector):
    """Collect the edge's metrics. `now` has to be set before the first scrape."""

    now: Callable[[], Now]

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.todos = dict.fromkeys(OUTCOMES, 0)
        self.late = 0
        self.producer_rebuilds = 0
        self.limited = {"owner": 0, "address": 0}
        self.limits_shared: bool | None = None  # None: not shared at all
        self.keys_age: Callable[[], float | None] = lambda: None  # seconds; None: not read yet, or not needed
        self._acks = [0] * (len(ACK_BUCKETS) + 1)
        self._ack_seconds = 0.0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def acknowledged(self, seconds: float, todos: int) -> None:
        """Count the todos of a record batch that Kafka acknowledged after `seconds`."""
        self._acks[bisect_left(ACK_BUCKETS, seconds)] += todos
        self._ack_seconds += seconds * todos

    def expose(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        return []  # without it the registry would call collect(), before `now` is set

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("todo_edge_requests", "Requests to add todos.", labels=["route", "status"])
        for (route, status), count in list(self.requests.items()):
            requests.add_metric([route, str(status)], count)
        yield requests
        todos = CounterMetricFamily(
            "todo_edge_todos",
            "Todos that clients sent, each with one outcome; a request that was not read counts as one.",
            labels=["outcome"],
        )
        for outcome, count in self.todos.items():
            todos.add_metric([outcome], count)
        yield todos
        text = "Todos that Kafka acknowledged too late: they count as unconfirmed, and will be stored."
        yield CounterMetricFamily("todo_edge_late_todos", text, self.late)
        yield self._ack_histogram()
        yield CounterMetricFamily("todo_edge_producer_rebuilds", "Kafka producers given up.", self.producer_rebuilds)
        limited = CounterMetricFamily("todo_edge_rate_limited", "Requests beyond a rate limit.", labels=["limit"])
        for kind, count in self.limited.items():
            limited.add_metric([kind], count)
        yield limited
        if self.limits_shared is not None:
            text = "1 while the rate limits are those of all edges, 0 while Redis is unavailable."
            yield GaugeMetricFamily("todo_edge_rate_limits_shared", text, int(self.limits_shared))
        if (age := self.keys_age()) is not None:
            text = "Time since the keys of tokens were last read."
            yield GaugeMetricFamily("todo_edge_keys_age_seconds", text, age)
        now = self.now()
        yield GaugeMetricFamily("todo_edge_ready", "1 while Kafka can take todos.", int(now.is_ready))
        yield GaugeMetricFamily("todo_edge_in_flight_todos", "Todos that wait for Kafka.", now.todos_in_flight)
        yield GaugeMetricFamily("todo_edge_in_flight_bytes", "Bytes that wait for Kafka.", now.bytes_in_flight)

    def _ack_histogram(self) -> Metric:
        cumulative, buckets = 0, []
        for bound, count in zip([*map(str, ACK_BUCKETS), "+Inf"], self._acks, strict=True):
            cumulative += count
            buckets.append((bound, cumulative))
        text = "From the first todo of a record batch until Kafka's acknowledgement, for each todo of the batch."
        return HistogramMetricFamily("todo_edge_ack_seconds", text, buckets, self._ack_seconds)
