"""What Kafka accepted over time: differences between the offsets that were the first of each period."""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise

from django.utils import timezone

from todos.event_log import OffsetRange
from todos.kafka.consumer import KafkaLog
from todos.monitoring.queries import DAY, HOUR, Series, periods_before

RATE_WINDOWS = (60, 900)  # seconds
# Time for one round of lookups. A new process needs 156 of them, so its charts are complete a few seconds later.
LOOKUP_SECONDS = 0.4
Offsets = Mapping[int, int]


def accepted_per_minute(log: KafkaLog, ranges: Mapping[int, OffsetRange]) -> dict[int, float]:
    """Return, for each window of RATE_WINDOWS, the offsets that were added per minute. Raises LogUnavailable."""
    rates = {}
    for seconds in RATE_WINDOWS:
        first = log.offsets_at(ranges, int((time.time() - seconds) * 1000))
        added = sum(max(ranges[partition].end - offset, 0) for partition, offset in first.items() if offset is not None)
        rates[seconds] = added * 60 / seconds
    return rates


class AcceptedOverTime:
    """Looks up each moment's offsets once: the first offset of a past moment never changes."""

    def __init__(self) -> None:
        self._offsets_at: dict[datetime, Offsets] = {}

    def series(self, log: KafkaLog, ranges: Mapping[int, OffsetRange]) -> tuple[Series | None, Series | None]:
        """Return the series of the last hour and day, each None until all its offsets are known.

        Raises LogUnavailable.
        """
        now, ends = timezone.now(), {partition: held.end for partition, held in ranges.items()}
        hour, day = periods_before(now, *HOUR), periods_before(now, *DAY)
        moments = dict.fromkeys([*reversed(hour), *reversed(day)])
        self._offsets_at = {
            moment: offsets
            for moment, offsets in self._offsets_at.items()
            if moment in moments and _is_same_log(offsets, ends)
        }
        deadline = time.monotonic() + LOOKUP_SECONDS
        for moment in moments:
            if moment not in self._offsets_at and time.monotonic() < deadline:
                first = log.offsets_at(ends, int(moment.timestamp() * 1000))
                self._offsets_at[moment] = {p: ends[p] if offset is None else offset for p, offset in first.items()}
        return self._differences(hour, HOUR[0], ends, now), self._differences(day, DAY[0], ends, now)

    def _differences(self, starts: list[datetime], width: timedelta, ends: Offsets, now: datetime) -> Series | None:
        if any(start not in self._offsets_at for start in starts):
            return None
        offsets = [*(self._offsets_at[start] for start in starts), ends]
        return Series(starts[0], width, [_added(before, after) for before, after in pairwise(offsets)], now)


def _is_same_log(offsets: Offsets, ends: Offsets) -> bool:
    """Tell whether the topic has the same partitions still, and was not recreated."""
    return offsets.keys() == ends.keys() and all(offset <= ends[partition] for partition, offset in offsets.items())


def _added(before: Offsets, after: Offsets) -> int:
    return sum(max(after[partition] - offset, 0) for partition, offset in before.items())
