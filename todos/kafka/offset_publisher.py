"""Publish how far partitions are stored to the consumer group, in the background."""

import logging
import threading
from collections.abc import Mapping
from typing import Protocol

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class Group(Protocol):
    """A client of the consumer group's coordinator, used by one thread."""

    def commit_offsets(self, offsets: Mapping[int, int]) -> Mapping[int, str]:
        """Set the offsets of partitions, and return for each one that was refused why. May raise."""

    def close(self) -> None:
        """Disconnect. The next commit connects again."""


class OffsetPublisher:
    """Publish offsets in a thread, because a coordinator that is frozen or gone takes seconds to say so.

    Offsets that were not published are tried again every RETRY_SECONDS, until newer ones replace them. The first
    failure is logged, and the next success after it.
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self._changed = threading.Condition()
        self._unpublished: Mapping[int, int] = {}
        self._thread: threading.Thread | None = None  # runs while there are offsets to publish
        self._is_failing = self._is_final = self._is_closed = False

    def publish(self, offsets: Mapping[int, int]) -> None:
        """Publish these, instead of all that are not published yet. Returns at once. Does nothing after `close`."""
        with self._changed:
            if self._is_closed:
                return
            self._unpublished, self._is_final = dict(offsets), False
            self._changed.notify_all()
            if offsets and self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="publish-offsets")
                self._thread.start()

    def finish(self, seconds: float) -> None:
        """Try once more, and wait for that for `seconds` at most, or not at all while publishing fails."""
        with self._changed:
            self._is_final = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._thread is None or self._is_failing, seconds)

    def close(self) -> None:
        """Give up what is not published, and disconnect for good, once an attempt that is under way has ended."""
        with self._changed:
            self._unpublished, self._is_final, self._is_closed = {}, True, True
            self._changed.notify_all()
            is_running = self._thread is not None
        if not is_running:
            self._group.close()

    def _run(self) -> None:
        while offsets := self._next():
            refused = self._attempt(offsets)
            with self._changed:
                if self._unpublished is offsets:  # otherwise newer ones came meanwhile
                    again = () if self._is_final else refused
                    self._unpublished = {partition: offsets[partition] for partition in again}
                self._note(refused)
                if refused and self._unpublished:
                    self._changed.wait_for(lambda: self._is_final, RETRY_SECONDS)
        if self._is_closed:  # an attempt may have connected meanwhile
            self._group.close()

    def _next(self) -> Mapping[int, int]:
        with self._changed:
            if not self._unpublished:
                self._thread = None
                self._changed.notify_all()
            return self._unpublished

    def _attempt(self, offsets: Mapping[int, int]) -> Mapping[int, str]:
        try:
            refused = self._group.commit_offsets(offsets)
        except Exception as exc:  # noqa: BLE001 - the offsets are advisory, and the next attempt must follow
            refused = dict.fromkeys(offsets, str(exc) or type(exc).__name__)
        if refused:
            self._group.close()  # kafka-python never looks again for a coordinator that it has found once
        return refused

    def _note(self, refused: Mapping[int, str]) -> None:
        if refused and not self._is_failing:
            reasons = "; ".join(sorted(set(refused.values())))
            logger.warning("the stored offsets of partitions %s are not published: %s", sorted(refused), reasons)
        elif self._is_failing and not refused:
            logger.info("the stored offsets are published again")
        self._is_failing = bool(refused)
        self._changed.notify_all()
