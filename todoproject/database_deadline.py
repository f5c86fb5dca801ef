"""A database that is frozen, or cut off in silence, must not keep a web thread for ever.

Nothing of the server's own helps: its statement_timeout is frozen with it, and its kernel goes on to acknowledge.
"""

import select
import time
from collections.abc import Callable
from typing import Any

from psycopg2 import OperationalError, extensions

STATEMENT_SECONDS = 5.0  # far more than any statement of a page needs


def limit_statements(seconds: float = STATEMENT_SECONDS) -> None:
    """For all connections of this process, also while they are made. psycopg2 closes one that waits in vain."""
    extensions.set_wait_callback(_wait_for(seconds))


def _wait_for(seconds: float) -> Callable[[Any], None]:
    def wait(connection: Any) -> None:
        poller, deadline = select.poll(), time.monotonic() + seconds
        while (state := connection.poll()) != extensions.POLL_OK:
            poller.register(connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
            if not poller.poll(max(deadline - time.monotonic(), 0) * 1000):
                raise OperationalError(f"the database did not answer within {seconds:g} s")

    return wait
