"""Predict what other settings of the poll would do, from the measured time of busy batches."""

import math
from dataclasses import dataclass

from django.db import connection

from todos.bounds import finite_seconds
from todos.ingest.options import PollOptions

# A batch of this many records, this soon after another one, shows the speed of a poll and not how long it waited.
BUSY_RECORDS, BUSY_SECONDS = 500, 5
RECENT_BATCHES = 5_000
# A prediction never differs from the measured speed by more than this factor, either way.
MAX_SPEED_FACTOR = 4.0

# One transaction writes one batch per partition, all with the same created_at. Its time is counted from the
# transaction before it, so it includes reading from Kafka.
MEASURE_SPEED = """
    WITH recent AS (
        SELECT worker, task_id, created_at, stored + duplicates + dead_letters + erased AS records
        FROM todos_batch WHERE topic = %(topic)s AND created_at > now() - interval '1 day'
        ORDER BY created_at DESC LIMIT %(batches)s),
    transactions AS (
        SELECT worker, task_id, created_at, sum(records) AS records FROM recent GROUP BY 1, 2, 3),
    steps AS (
        SELECT records, lag(records) OVER poll AS before,
               extract(epoch FROM created_at - lag(created_at) OVER poll)::float AS seconds
        FROM transactions WINDOW poll AS (PARTITION BY worker, task_id ORDER BY created_at))
    SELECT count(*), sum(records), sum(seconds), regr_slope(seconds, records), regr_intercept(seconds, records),
           (SELECT count(DISTINCT worker) FROM recent WHERE created_at > now() - interval '1 hour')
    FROM steps WHERE records >= %(busy)s AND before >= %(busy)s AND seconds < %(seconds)s
"""


@dataclass(frozen=True)
class PollSpeed:
    """The throughput of one poll, measured over `batches` busy transactions."""

    batches: int
    records_per_second: float
    seconds_per_batch: float  # the fixed cost of a batch of any size
    seconds_per_record: float
    processes: int  # worker processes that stored anything within the last hour

    def at(self, max_records: int) -> float:
        """Predict the records per second with batches of `max_records`."""
        predicted = max_records / (self.seconds_per_batch + self.seconds_per_record * max_records)
        slowest, fastest = self.records_per_second / MAX_SPEED_FACTOR, self.records_per_second * MAX_SPEED_FACTOR
        return min(max(predicted, slowest), fastest)


@dataclass(frozen=True)
class Forecast:
    """What the poll would do with the given options."""

    polls: float  # polls that run at the same time
    surplus: float  # polls that would find no free partition or worker process
    idle_gap: float  # the longest time, in seconds, without a running poll while no todo arrives
    per_minute: float | None = None  # todos that can be stored; None while no speed was measured
    arriving: float | None = None  # todos that arrive per minute; None while Kafka does not answer
    lag: int | None = None
    batches: int = 0  # busy transactions that the speed was measured on

    @property
    def seconds_to_clear(self) -> float | None:
        """Seconds until the lag is zero; None when the lag is unknown or does not shrink."""
        if self.per_minute is None or self.lag is None or self.arriving is None:
            return None
        spare = self.per_minute - self.arriving
        return 0.0 if not self.lag else finite_seconds(self.lag * 60 / spare) if spare > 0 else None

    @property
    def keeps_up(self) -> bool | None:
        """Whether todos are stored as fast as they arrive; None when either rate is unknown."""
        if self.per_minute is None or self.arriving is None:
            return None
        return self.per_minute >= self.arriving


def measure_speed(topic: str) -> PollSpeed | None:
    """Measure the speed of one poll over the busy batches of the last day; None when there are none."""
    with connection.cursor() as cursor:
        cursor.execute(
            MEASURE_SPEED,
            {"topic": topic, "batches": RECENT_BATCHES, "busy": BUSY_RECORDS, "seconds": BUSY_SECONDS},
        )
        batches, records, seconds, slope, intercept, processes = cursor.fetchone()
    if not batches or not seconds:
        return None
    mean = float(seconds) / float(records)
    if slope is None or slope <= 0 or intercept <= 0:  # batches of one size do not show the fixed cost
        slope, intercept = mean, 0.0
    return PollSpeed(batches, 1 / mean, float(intercept), float(slope), processes)


def forecast(
    speed: PollSpeed | None,
    options: PollOptions,
    *,
    every_seconds: float,
    partitions: int | None,
    arriving: float | None,
    lag: int | None,
) -> Forecast:
    """Predict from the measured speed.

    `every_seconds` is the interval of the schedule, `partitions` the number of the topic's partitions, `arriving`
    the todos per minute that Kafka accepts, and `lag` the records that are not stored yet. None is unknown.
    """
    wanted = options.time_budget_seconds / every_seconds
    limits = [limit for limit in (partitions, speed and speed.processes) if limit]
    polls = min([wanted, *limits])
    listening = min(options.timeout_ms / 1000, options.time_budget_seconds)
    per_minute = speed.at(options.max_records) * polls * 60 if speed else None
    return Forecast(
        polls=polls,
        surplus=max(math.ceil(wanted) - min(limits, default=math.inf), 0),
        idle_gap=max(every_seconds - listening, 0.0),
        per_minute=per_minute,
        arriving=arriving,
        lag=lag,
        batches=speed.batches if speed else 0,
    )
