"""Limit the time of a statement, so that a frozen or unreachable database does not block a web thread for ever.

PostgreSQL's own statement_timeout does not help: it is frozen with the server, whose kernel still acknowledges packets.
"""

import select
import time
from collections.abc import Callable
from typing import Any

from psycopg2 import OperationalError, extensions

STATEMENT_SECONDS = 5.0  # far more than any statement of a page needs


def limit_statements(seconds: float = STATEMENT_SECONDS) -> None:
    """Limit each statement and each attempt to connect; psycopg2 closes a connection that times out."""
    extensions.set_wait_callback(_wait_for(seconds))


def _wait_for(seconds: float) -> Callable[[Any], None]:
    def wait(connection: Any) -> None:
        poller, deadline = select.poll(), time.monotonic() + seconds
        while (state := connection.poll()) != extensions.POLL_OK:
            poller.register(connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
            if not poller.poll(max(deadline - time.monotonic(), 0) * 1000):
                raise OperationalError(f"the database did not answer within {seconds:g} s")

    return wait
