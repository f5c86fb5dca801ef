"""One import: every line into Kafka as an event of the contract, or among the rejects, in the order of the file."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from edge_api.contract import TodoCreated, record_key
from todos.transfer.imports.check import Rejected, check
from todos.transfer.imports.lines import Line
from todos.transfer.imports.state import Progress

MAX_IN_FLIGHT_RECORDS, MAX_IN_FLIGHT_BYTES = 10_000, 16 << 20
REPORT_SECONDS = 0.2


class Ack(Protocol):
    """Of one record."""

    @property
    def is_settled(self) -> bool: ...

    def wait(self) -> None:
        """Until every in-sync replica has the record. Raises LogUnavailable: then it may be in the log or not."""


class PipelinedSender(Protocol):
    def start(self, *, key: bytes, value: bytes) -> Ack:
        """Does not wait for the acknowledgement. Raises LogUnavailable."""


class NullSender:
    """For a dry run: a PipelinedSender, and each of its Acks."""

    is_settled = True

    def start(self, *, key: bytes, value: bytes) -> Ack:
        return self

    def wait(self) -> None:
        pass


class _Sent(NamedTuple):
    ack: Ack
    size: int


@dataclass
class Import:
    """`progress` moves behind a line when it and all before it are settled: acknowledged, or rejected.

    `on_progress` get it at the beginning, now and then, and at the end, whatever happened.
    """

    progress: Progress
    sender: PipelinedSender
    on_reject: Iterable[Callable[[Rejected], None]]
    on_progress: Iterable[Callable[[Progress], None]]
    _pending: deque[tuple[Line, _Sent | Rejected]] = field(default_factory=deque)
    _bytes: int = 0
    _next_report: float = 0.0

    def run(self, lines: Iterable[Line]) -> None:
        """Raises LogUnavailable. Then some records may be in the log that `progress` does not know of: send again."""
        self._report()
        try:
            for line in lines:
                self._start(line)
                while self._pending and self._must_settle():
                    self._settle()
            while self._pending:
                self._settle()
            self.progress.finished = True
        finally:
            self._report()

    def _start(self, line: Line) -> None:
        found = check(line, self.progress.namespace)
        self._pending.append((line, found if isinstance(found, Rejected) else self._send(found)))

    def _send(self, event: TodoCreated) -> _Sent:
        assert event.id is not None  # noqa: S101 - check() decides it
        value = event.to_json()
        self._bytes += len(value)
        return _Sent(self.sender.start(key=record_key(event.id), value=value), len(value))

    def _must_settle(self) -> bool:
        """Also when nothing is full: a slow import tells how far it is."""
        first = self._pending[0][1]
        is_full = len(self._pending) > MAX_IN_FLIGHT_RECORDS or self._bytes > MAX_IN_FLIGHT_BYTES
        return is_full or isinstance(first, Rejected) or first.ack.is_settled

    def _settle(self) -> None:
        line, first = self._pending[0]
        if isinstance(first, Rejected):
            for each in self.on_reject:
                each(first)
            self.progress.rejected += 1
        else:
            first.ack.wait()
            self._bytes -= first.size
            self.progress.accepted += 1
            self.progress.were_done += line.fields.get("is_done") in (True, "true")
        self._pending.popleft()
        self.progress.place = line.end
        if time.monotonic() >= self._next_report:
            self._report()

    def _report(self) -> None:
        for each in self.on_progress:
            each(self.progress)
        self._next_report = time.monotonic() + REPORT_SECONDS


def paced(lines: Iterable[Line], per_second: float) -> Iterator[Line]:
    """The same lines, never faster than this."""
    start = time.monotonic()
    for count, line in enumerate(lines):
        time.sleep(max(start + count / per_second - time.monotonic(), 0))
        yield line
