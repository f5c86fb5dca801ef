"""What the clients know: each POST with its fate, and when each acknowledged todo was first seen in the database."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

Position = tuple[int, int]  # partition and offset


class Accepted(NamedTuple):
    """A todo whose record Kafka acknowledged; `at` in seconds since 1970."""

    id: str
    title: str
    at: float
    partition: int
    offset: int


class TopicRecord(NamedTuple):
    """`id` is None for what can never be a todo; `at` in seconds since 1970; `fingerprint` where a key made the id."""

    position: Position
    id: str | None
    at: float
    fingerprint: str = ""


class Stall(NamedTuple):
    """Acknowledged todos were waiting, and from `start` to `end` none of them was stored."""

    start: float
    end: float


@dataclass
class Journal:
    accepted: dict[str, Accepted] = field(default_factory=dict)
    unconfirmed: dict[str, float] = field(default_factory=dict)  # title: when; may be stored, need not
    refused: list[str] = field(default_factory=list)  # answers that no valid todo may ever get
    seen: dict[str, float] = field(default_factory=dict)  # id: when it was first seen in the database
    stalls: list[Stall] = field(default_factory=list)
    replaced: list[TopicRecord] = field(default_factory=list)  # of logs that Kafka had, and came back without
    markers: Counter[int] = field(default_factory=Counter)  # by partition: offsets that ends of transactions took

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, float] = {}
        self._progress_at = self._unseen_at = 0.0

    def accept(self, todo: Accepted) -> None:
        with self._lock:
            if todo.id in self.accepted:
                self.refused.append(f"two POSTs got the id {todo.id}")
            self.accepted[todo.id] = todo
            self._waiting[todo.id] = todo.at

    def waiting(self) -> list[str]:
        with self._lock:
            return list(self._waiting)

    def see(self, ids: list[str], now: float) -> None:
        """These, of those that waited, are in the database now."""
        with self._lock:
            if not ids:
                return
            self.stalls.append(Stall(self._stalled_since(now), now))
            self._progress_at = now
            for todo_id in ids:
                self.seen[todo_id] = now
                del self._waiting[todo_id]

    def unsee(self, stored: set[str]) -> None:
        """The database was set back: what is not among these waits again."""
        with self._lock:
            for todo_id in self.seen.keys() - stored:
                del self.seen[todo_id]
                self._waiting[todo_id] = self.accepted[todo_id].at
            self._unseen_at = time.time()
            self._waiting = dict(sorted(self._waiting.items(), key=lambda waiting: waiting[1]))

    def stalled_for(self) -> float:
        with self._lock:
            now = time.time()
            return now - self._stalled_since(now)

    def _stalled_since(self, now: float) -> float:
        oldest = next(iter(self._waiting.values()), now)
        return max(self._progress_at, oldest)

    def first_visible(self, since: float) -> float | None:
        """When the first todo acknowledged after `since` was seen; None as long as there is none."""
        with self._lock:
            fresh = (at for todo_id, at in self.seen.items() if at > since and self.accepted[todo_id].at > since)
            return min(fresh, default=None)

    def visible(self, since: float) -> int:
        """How many todos acknowledged after `since` were seen."""
        with self._lock:
            return sum(self.accepted[todo_id].at > since for todo_id in self.seen)

    def seen_between(self, start: float, end: float) -> int:
        """How many todos were first seen then."""
        with self._lock:
            return sum(start < at < end for at in self.seen.values())

    def longest_wait(self) -> float:
        """For how many seconds the oldest todo that is not stored has been acknowledged, or lost with a database."""
        with self._lock:
            now = time.time()
            return now - max(next(iter(self._waiting.values()), now), self._unseen_at)

    def is_caught_up(self, since: float, *, apart_from: int | None = None) -> bool:
        """Whether everything acknowledged until `since` is in the database, apart from that of one partition."""
        with self._lock:
            return all(
                at > since or (apart_from is not None and self.accepted[todo_id].partition == apart_from)
                for todo_id, at in self._waiting.items()
            )
