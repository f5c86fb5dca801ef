"""Lets requests wait until the ledger has passed an offset: one query for all that wait, and none while nobody does."""

import logging
import threading
import time

from django.db import connection

from todos.models import PartitionLedger

logger = logging.getLogger(__name__)
INTERVAL_SECONDS = 0.025


class LedgerWatch:
    """Of one topic and one process. At most `most` wait at the same time, so that threads are left for others."""

    def __init__(self, topic: str, most: int) -> None:
        self._topic, self._most = topic, most
        self._lock = threading.Lock()
        self._waiting: dict[threading.Event, tuple[int, int]] = {}
        self._is_watched = False

    def wait(self, partition: int, offset: int, seconds: float) -> None:
        """Returns when the offset is decided or the time is up; at once where too many wait, or no database answers."""
        decided = threading.Event()
        with self._lock:
            if len(self._waiting) >= self._most:
                return
            if not self._is_watched:
                threading.Thread(target=self._watch, name="ledger-watch", daemon=True).start()
                self._is_watched = True
            self._waiting[decided] = partition, offset
        decided.wait(seconds)
        with self._lock:
            self._waiting.pop(decided, None)

    # --- In the thread, which ends with the last who waits

    def _watch(self) -> None:
        try:
            while self._goes_on():
                self._tell()
                time.sleep(INTERVAL_SECONDS)
        except Exception as exc:  # noqa: BLE001 - whatever it is, nobody shall wait for a watch that has ended
            logger.warning("cannot watch the ledger: %s: %s", type(exc).__name__, " ".join(str(exc).split()))
            self._give_up()
        finally:
            connection.close()

    def _goes_on(self) -> bool:
        with self._lock:
            self._is_watched = bool(self._waiting)
            return self._is_watched

    def _tell(self) -> None:
        ledger = PartitionLedger.objects.filter(topic=self._topic).order_by()
        next_offsets = dict(ledger.values_list("partition", "next_offset"))
        with self._lock:
            for decided, (partition, offset) in self._waiting.items():
                if offset < next_offsets.get(partition, 0):
                    decided.set()

    def _give_up(self) -> None:
        """Each of them asks the database itself, and fails in its own name."""
        with self._lock:
            self._is_watched = False
            for decided in self._waiting:
                decided.set()
