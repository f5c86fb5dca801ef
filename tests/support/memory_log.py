"""A log in memory, for what a real one cannot be made to do at the right moment."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.hostile import Draft
from tests.support.topic import event, event_of_version
from todos.event_log import OffsetRange, OpenTransaction, Record, Retention


@dataclass
class MemoryLog:
    """A todos.event_log.Log. Of `errors`, by offset, each is raised once, by the poll that begins there.

    `polls` counts: acquire it to wait for the next one. Two calls at the same time are refused. The events at the
    offsets `unsupported` are of version 2.
    """

    ends: dict[int, int]
    holes: frozenset[int] = frozenset()
    errors: dict[int, Exception] = field(default_factory=dict)
    unsupported: frozenset[int] = frozenset()
    topic: str = "memory"

    def __post_init__(self) -> None:
        self.polls = threading.Semaphore(0)
        self._positions: dict[int, int] = {}
        self._busy = threading.Lock()

    def assign(self, positions: Mapping[int, int]) -> None:
        with self._alone():
            self._positions = dict(positions)

    def poll(self, *, timeout_ms: int, max_records: int) -> dict[int, Sequence[Record]]:
        with self._alone():
            self.polls.release()
            for offset in self._positions.values():
                if error := self.errors.pop(offset, None):
                    raise error
            return dict(self._take(max_records))

    def positions(self) -> dict[int, int]:
        with self._alone():
            return dict(self._positions)

    def _take(self, left: int) -> Iterator[tuple[int, list[Record]]]:
        for partition, start in self._positions.items():
            offsets = [offset for offset in range(start, self.ends[partition]) if offset not in self.holes][:left]
            left -= len(offsets)
            if offsets:
                self._positions[partition] = offsets[-1] + 1
                yield partition, [Draft(self._value(offset), partition=partition, offset=offset) for offset in offsets]
            elif left:
                self._positions[partition] = max(start, self.ends[partition])

    def _value(self, offset: int) -> bytes:
        return event_of_version(2) if offset in self.unsupported else event()

    def _alone(self) -> threading.Lock:
        assert not self._busy.locked(), "two threads use the log at once"
        return self._busy

    def identity(self) -> None:
        return None

    def partitions(self) -> list[int]:
        return sorted(self.ends)

    def offset_ranges(self, partitions: Iterable[int]) -> dict[int, OffsetRange]:
        return {partition: OffsetRange(0, self.ends[partition]) for partition in partitions}

    def open_transactions(self, ends: Mapping[int, int]) -> dict[int, OpenTransaction]:
        return {}

    def retention(self) -> Retention:
        return Retention(None, None)

    def first_records(self, positions: Mapping[int, int]) -> dict[int, Record]:
        return {p: Draft(self._value(offset), partition=p, offset=offset) for p, offset in positions.items()}

    def publish(self, positions: Mapping[int, int]) -> None: ...

    def finish_publishing(self, seconds: float) -> None: ...
