"""Let requests wait until the ledger passes an offset: one query serves all that wait, and none runs otherwise."""

import logging
import threading
import time

from django.db import connection

from todos.models import PartitionLedger

logger = logging.getLogger(__name__)
INTERVAL_SECONDS = 0.025


class LedgerWatch:
    """Watches the ledger of one topic for the requests of this process, in a thread that ends with the last of them."""

    def __init__(self, topic: str, max_waiting: int) -> None:
        """`max_waiting` limits the requests that wait at the same time, so that threads are left for others."""
        self._topic, self._max_waiting = topic, max_waiting
        self._lock = threading.Lock()
        self._waiting: dict[threading.Event, tuple[int, int]] = {}
        self._is_watched = False

    def wait(self, partition: int, offset: int, seconds: float) -> None:
        """Return when the offset is decided, or after `seconds`.

        Returns at once if too many requests wait already, or if the database does not answer.
        """
        decided = threading.Event()
        with self._lock:
            if len(self._waiting) >= self._max_waiting:
                return
            if not self._is_watched:
                threading.Thread(target=self._watch, name="ledger-watch", daemon=True).start()
                self._is_watched = True
            self._waiting[decided] = partition, offset
        decided.wait(seconds)
        with self._lock:
            self._waiting.pop(decided, None)

    # --- In the thread

    def _watch(self) -> None:
        try:
            while self._has_waiting():
                self._release_decided()
                time.sleep(INTERVAL_SECONDS)
        except Exception as exc:  # noqa: BLE001 - after any error the waiting requests must be released
            logger.warning("cannot watch the ledger: %s: %s", type(exc).__name__, " ".join(str(exc).split()))
            self._release_all()
        finally:
            connection.close()

    def _has_waiting(self) -> bool:
        with self._lock:
            self._is_watched = bool(self._waiting)
            return self._is_watched

    def _release_decided(self) -> None:
        ledger = PartitionLedger.objects.filter(topic=self._topic).order_by()
        next_offsets = dict(ledger.values_list("partition", "next_offset"))
        with self._lock:
            for decided, (partition, offset) in self._waiting.items():
                if offset < next_offsets.get(partition, 0):
                    decided.set()

    def _release_all(self) -> None:
        """Let each request query the database itself, and report the error itself."""
        with self._lock:
            self._is_watched = False
            for decided in self._waiting:
                decided.set()
