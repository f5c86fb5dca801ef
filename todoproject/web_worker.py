"""How gunicorn serves: as its threaded worker does, but clients that send nothing hold up nobody."""

import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers import gthread  # type: ignore[import-untyped]

READ_SECONDS = 15.0  # from the first byte of a request; whatever is missing then will not be read


class PollingThreadWorker(gthread.ThreadWorker):  # type: ignore[misc]
    """A connection gets a thread when it has sent something, and cannot keep it by sending half a request.

    gunicorn's own worker lets a thread wait 5 s for the first byte and for ever for the rest, with no option for
    either. A connection that waits in the poller costs no thread, and is closed after --keep-alive seconds.
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
        """Called by the main loop at least once a second."""
        super().murder_pending()
        now = time.monotonic()
        for conn, deadline in list(self._deadlines.items()):
            if deadline < now:
                # The thread reads an end of file; an answer that is still to come can be written.
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)
