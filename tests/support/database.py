"""A database that does not answer, for the queries of this thread."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def database_away() -> Iterator[None]:
    """Meanwhile each new connection is refused."""
    connection.close()
    back, connection.settings_dict = connection.settings_dict, connection.settings_dict | {"PORT": "1"}
    try:
        yield
    finally:
        connection.settings_dict = back
        connection.close()
