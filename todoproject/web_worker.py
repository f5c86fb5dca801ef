"""gunicorn's threaded worker, in which a client that sends nothing or half a request keeps no thread."""

import logging
import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers import gthread

logger = logging.getLogger(__name__)

READ_SECONDS = 15.0  # from the first byte of a request to its last


def choose_worker() -> str:
    """Return the name of the worker class: PollingThreadWorker or, after one warning, gunicorn's own threaded worker.

    PollingThreadWorker leans on internals of gunicorn, which is pinned exactly. Under other names it would do nothing.
    """
    connection = {*vars(gthread.TConn), *gthread.TConn.__init__.__code__.co_names}
    missing = [f"TConn.{name}" for name in ("initialized", "sock", "wait_for_data") if name not in connection]
    missing += [
        f"ThreadWorker.{name}" for name in ("handle", "murder_pending") if not hasattr(gthread.ThreadWorker, name)
    ]
    missing += [] if hasattr(gthread, "_DEFER") else ["_DEFER"]
    if missing:
        logger.warning("gunicorn has no %s: a slow client may keep a thread of the web process", ", ".join(missing))
        return "gthread"
    return f"{__name__}.PollingThreadWorker"


class PollingThreadWorker(gthread.ThreadWorker):  # type: ignore[misc]
    """Give a connection a thread when it has sent something, and take it back after READ_SECONDS.

    gunicorn's own worker lets a thread wait 5 s for the first byte and for ever for the rest, without an option for
    either. A connection that waits in the poller costs no thread and is closed after --keep-alive seconds.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadlines: dict[Any, float] = {}

    def handle(self, conn: Any) -> Any:
        if not conn.initialized and not conn.wait_for_data(0):
            return gthread._DEFER
        self._deadlines[conn] = time.monotonic() + READ_SECONDS
        try:
            return super().handle(conn)
        finally:
            del self._deadlines[conn]

    def murder_pending(self) -> None:
        """Close connections that are too slow; the main loop calls this at least once a second."""
        super().murder_pending()
        now = time.monotonic()
        for conn, deadline in list(self._deadlines.items()):
            if deadline < now:
                # The thread reads an end of file; a response that is not written yet can still be sent.
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)
