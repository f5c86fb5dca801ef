"""What one attack did, and whether the service held: by bounds that a slow machine keeps too."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.abuse.healthy import KINDS, Kind, Sample, percentile

MIB = 2**20
GROWTH_BYTES = 96 * MIB  # of the attacked process: twice what the edge holds of bodies at most
PROBE_SECONDS = 1.0  # the 99th percentile, of the attacked process, without waits for a processor
FREE_SECONDS = 20.0  # within which the server frees what an attacker holds


@dataclass(frozen=True)
class Row:
    """One attack on one port. Memory is in bytes, 0 for a process that has ended."""

    attack: str
    side: str
    sends: str
    statuses: dict[int, int]  # of the attacker's answers
    problems: list[str]  # what the attack itself found
    before: Sequence[Sample]  # of healthy clients
    meanwhile: Sequence[Sample]
    memory_before: int
    memory_peak: int
    memory_after: int
    connections_left: int

    def reasons(self, *, timed: bool) -> list[str]:
        """Return why the row is red; nothing if it is green. Only with `timed` are durations judged."""
        return [*self.problems, *self._unserved(), *self._spent(), *(self._slow() if timed else ())]

    def _unserved(self) -> Iterator[str]:
        for kind in KINDS:
            mine = [sample for sample in self.meanwhile if sample.kind == kind]
            if unserved := [sample.problem for sample in mine if sample.problem]:
                yield f"{_title(kind)}: {len(unserved)} of {len(mine)} were not served: {unserved[0]}"
            elif not mine:
                yield f"{_title(kind)}: nothing was asked"
        if self.statuses.get(500):
            yield f"{self.statuses[500]} answers were 500"

    def _spent(self) -> Iterator[str]:
        if not self.memory_after:
            yield "the process ended"
        if (growth := self.memory_peak - self.memory_before) > GROWTH_BYTES:
            yield f"memory grew by {growth // MIB} MiB"
        if self.connections_left:
            yield f"{self.connections_left} connections were still open after {FREE_SECONDS:g} s"

    def _slow(self) -> Iterator[str]:
        for kind in (kind for kind in KINDS if kind.is_probe and kind.side == self.side):
            p99 = percentile([sample.judged_seconds for sample in self.meanwhile if sample.kind == kind], 0.99)
            if p99 > PROBE_SECONDS:
                yield f"{_title(kind)}: p99 was {p99:.1f} s"


def _title(kind: Kind) -> str:
    return f"{kind.name} ({kind.side})"
