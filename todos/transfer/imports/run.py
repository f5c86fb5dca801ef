"""Send each line of a file to Kafka as an event, or add it to the rejects, in the order of the file."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from edge_api.contract import TodoCreated, record_key
from todos.transfer.imports.job import Progress
from todos.transfer.imports.lines import Line, RejectedLine, check_line

MAX_IN_FLIGHT_RECORDS, MAX_IN_FLIGHT_BYTES = 10_000, 16 << 20
REPORT_SECONDS = 0.2


class Ack(Protocol):
    """The acknowledgement of one record."""

    @property
    def is_settled(self) -> bool:
        """Whether wait() would return, or raise, at once."""

    def wait(self) -> None:
        """Wait until every in-sync replica has the record. Raises LogUnavailable if the record may be missing."""


class PipelinedSender(Protocol):
    """Sends records without waiting for the acknowledgement of the ones before."""

    def start(self, *, key: bytes, value: bytes) -> Ack:
        """Send a record, and return at once. Raises LogUnavailable."""


class NullSender:
    """A PipelinedSender for dry runs that sends nothing, and the Ack of each of its records."""

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
    """Imports lines, and moves `progress` past a line once it and all lines before are acknowledged or rejected.

    `on_reject` is called once for each rejected line. `on_progress` is called at the start, at most every
    REPORT_SECONDS, and at the end, also after an error.
    """

    progress: Progress
    sender: PipelinedSender
    on_reject: Iterable[Callable[[RejectedLine], None]]
    on_progress: Iterable[Callable[[Progress], None]]
    _pending: deque[tuple[Line, _Sent | RejectedLine]] = field(init=False, default_factory=deque)
    _pending_bytes: int = field(init=False, default=0)
    _next_report: float = field(init=False, default=0.0)

    def run(self, lines: Iterable[Line]) -> None:
        """Import all lines. Raises LogUnavailable.

        After an error Kafka may hold records after `progress.place`. Sending them again is harmless.
        """
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
        checked = check_line(line, self.progress.namespace)
        self._pending.append((line, checked if isinstance(checked, RejectedLine) else self._send(checked)))

    def _send(self, event: TodoCreated) -> _Sent:
        assert event.id is not None  # noqa: S101 - check_line decides it
        value = event.to_json()
        self._pending_bytes += len(value)
        return _Sent(self.sender.start(key=record_key(event.id), value=value), len(value))

    def _must_settle(self) -> bool:
        """Whether too much is in flight, or the first line is settled anyway and `progress` can move."""
        first = self._pending[0][1]
        is_full = len(self._pending) > MAX_IN_FLIGHT_RECORDS or self._pending_bytes > MAX_IN_FLIGHT_BYTES
        return is_full or isinstance(first, RejectedLine) or first.ack.is_settled

    def _settle(self) -> None:
        line, first = self._pending[0]
        if isinstance(first, RejectedLine):
            for reject in self.on_reject:
                reject(first)
            self.progress.rejected += 1
        else:
            first.ack.wait()
            self._pending_bytes -= first.size
            self.progress.accepted += 1
            self.progress.were_done += line.fields.get("is_done") in (True, "true")
        self._pending.popleft()
        self.progress.place = line.end
        if time.monotonic() >= self._next_report:
            self._report()

    def _report(self) -> None:
        for report in self.on_progress:
            report(self.progress)
        self._next_report = time.monotonic() + REPORT_SECONDS


def paced(lines: Iterable[Line], per_second: float) -> Iterator[Line]:
    """Yield the same lines at a rate of at most `per_second`."""
    start = time.monotonic()
    for count, line in enumerate(lines):
        time.sleep(max(start + count / per_second - time.monotonic(), 0))
        yield line
