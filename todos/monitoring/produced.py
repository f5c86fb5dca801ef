"""What Kafka accepted over time: the differences between its offsets at the start of each period."""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise

from django.utils import timezone

from todos.event_log import OffsetRange
from todos.kafka.consumer import KafkaLog
from todos.monitoring.queries import DAY, HOUR, Series, periods_before

# At a time. A process that has just begun asks for 156 moments, and its charts are whole a few seconds later.
ASK_SECONDS = 0.4
Offsets = Mapping[int, int]


class AcceptedOverTime:
    """Asks only for what it does not know: which offset was the first of a moment that is past never changes."""

    def __init__(self) -> None:
        self._known: dict[datetime, Offsets] = {}

    def series(self, log: KafkaLog, spans: Mapping[int, OffsetRange]) -> tuple[Series | None, Series | None]:
        """Of the last hour and the last day; None until all is known. Raises LogUnavailable."""
        now, ends = timezone.now(), {partition: span.end for partition, span in spans.items()}
        hour, day = periods_before(now, *HOUR), periods_before(now, *DAY)
        wanted = dict.fromkeys([*reversed(hour), *reversed(day)])
        self._known = {at: offsets for at, offsets in self._known.items() if at in wanted and _fits(offsets, ends)}
        deadline = time.monotonic() + ASK_SECONDS
        for moment in wanted:
            if moment not in self._known and time.monotonic() < deadline:
                found = log.offsets_at(ends, int(moment.timestamp() * 1000))
                self._known[moment] = {p: ends[p] if offset is None else offset for p, offset in found.items()}
        return self._differences(hour, HOUR[0], ends, now), self._differences(day, DAY[0], ends, now)

    def _differences(self, starts: list[datetime], width: timedelta, ends: Offsets, now: datetime) -> Series | None:
        if any(start not in self._known for start in starts):
            return None
        offsets = [*(self._known[start] for start in starts), ends]
        return Series(starts[0], width, [_added(before, after) for before, after in pairwise(offsets)], now)


def _fits(offsets: Offsets, ends: Offsets) -> bool:
    """Not after the topic was made anew, or has other partitions."""
    return offsets.keys() == ends.keys() and all(offset <= ends[partition] for partition, offset in offsets.items())


def _added(before: Offsets, after: Offsets) -> int:
    return sum(max(after[partition] - offset, 0) for partition, offset in before.items())
