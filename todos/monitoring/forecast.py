"""What other settings of the poll would do, reckoned from what busy batches really took."""

import math
from dataclasses import dataclass

from django.db import connection

from todos.ingest.options import PollOptions

# A batch of so many records, right after another one, tells of speed rather than of waiting.
BUSY_RECORDS, BUSY_SECONDS = 500, 5
LOOK_AT_BATCHES = 5_000
# No settings are believed to change the measured speed of a poll by more than this factor.
BELIEVED = 4.0

# One transaction writes a batch per partition, all of one moment. Its time is counted from the one before it, so
# reading from Kafka is in it.
MEASURE = """
    WITH recent AS (
        SELECT worker, task_id, created_at, stored + duplicates + dead_letters AS records
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
class Speed:
    """Of one poll, over `batches` busy transactions; `fixed` and `each` are seconds of a batch and of a record."""

    batches: int
    records_per_second: float
    fixed: float
    each: float
    processes: int  # worker processes that stored anything within the last hour

    def at(self, max_records: int) -> float:
        """Records per second with batches of that size."""
        reckoned = max_records / (self.fixed + self.each * max_records)
        lowest, highest = self.records_per_second / BELIEVED, self.records_per_second * BELIEVED
        return min(max(reckoned, lowest), highest)


@dataclass(frozen=True)
class Forecast:
    """`per_minute` is what can be stored; None where nothing was measured. `gone_in` is in seconds."""

    polls: float
    surplus: float  # polls that would find no partition or no worker
    idle_gap: float  # seconds, at most, in which nobody listens when all is quiet
    per_minute: float | None = None
    arriving: float | None = None
    lag: int | None = None
    batches: int = 0

    @property
    def gone_in(self) -> float | None:
        """None when the lag is unknown or never goes away."""
        if self.per_minute is None or self.lag is None or self.arriving is None:
            return None
        spare = self.per_minute - self.arriving
        return 0.0 if not self.lag else self.lag * 60 / spare if spare > 0 else None

    @property
    def keeps_up(self) -> bool | None:
        if self.per_minute is None or self.arriving is None:
            return None
        return self.per_minute >= self.arriving


def measure(topic: str) -> Speed | None:
    """None while no poll was ever busy within a day."""
    with connection.cursor() as cursor:
        cursor.execute(
            MEASURE,
            {"topic": topic, "batches": LOOK_AT_BATCHES, "busy": BUSY_RECORDS, "seconds": BUSY_SECONDS},
        )
        batches, records, seconds, slope, intercept, processes = cursor.fetchone()
    if not batches or not seconds:
        return None
    mean = float(seconds) / float(records)
    if slope is None or slope <= 0 or intercept <= 0:  # all of one size: a batch's fixed cost cannot be told
        slope, intercept = mean, 0.0
    return Speed(batches, 1 / mean, float(intercept), float(slope), processes)


def forecast(
    speed: Speed | None,
    options: PollOptions,
    *,
    every_seconds: float,
    partitions: int | None,
    arriving: float | None,
    lag: int | None,
) -> Forecast:
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
