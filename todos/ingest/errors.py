"""A failure to store is sorted before it is acted on: by class and SQLSTATE, never by its text.

SQLSTATE classes: PostgreSQL's manual, appendix A.
"""

from enum import Enum

from django.db import Error as DatabaseFailure
from django.db import InterfaceError, OperationalError


class ErrorKind(Enum):
    """What to do about it."""

    TRANSIENT = "hold the offsets and try again: the database is away, busy, full or read-only"
    DATA = "some record of the batch can never be stored: find it, dead-letter it, go on"
    SYSTEMIC = "schema, rights or code are wrong: hold the offsets, raise the alarm, dead-letter nothing"


class SystemicFailure(Exception):
    """Nothing was stored and nothing dead-lettered; somebody has to look. The message says at what."""


STATEMENT_CANCELLED = "57014"  # by the statement time-out, above all
LOCK_NOT_AVAILABLE = "55P03"  # within the lock time-out
DATA_CLASSES = {"22", "23"}  # data exception, integrity constraint violation
DATA_STATES = {"54000"}  # a value too large for an index
TRANSIENT_CLASSES = {
    "08",  # connection
    "40",  # serialization failure, deadlock
    "53",  # disk full, out of memory, too many connections
    "57",  # shutdown, crash, statement time-out
    "58",  # I/O
}
TRANSIENT_STATES = {
    "25006",  # read-only: a standby during a switch-over
    "25P03",  # idle in transaction for too long: this worker was frozen
    LOCK_NOT_AVAILABLE,
}


def classify_error(exc: BaseException) -> ErrorKind:
    """Anything that is not a failure to store is systemic."""
    state = sqlstate(exc)
    if state is None:
        return _sort_without_state(exc)
    if state in DATA_STATES or state[:2] in DATA_CLASSES:
        return ErrorKind.DATA
    if state in TRANSIENT_STATES or state[:2] in TRANSIENT_CLASSES:
        return ErrorKind.TRANSIENT
    return ErrorKind.SYSTEMIC


def sqlstate(exc: BaseException) -> str | None:
    """The five characters that PostgreSQL gave, or None where it never answered."""
    return getattr(exc.__cause__ if isinstance(exc, DatabaseFailure) else exc, "pgcode", None)


def _sort_without_state(exc: BaseException) -> ErrorKind:
    if isinstance(exc, OperationalError | InterfaceError):
        return ErrorKind.TRANSIENT  # the connection broke, or never came about
    if isinstance(exc, ValueError):
        return ErrorKind.DATA  # psycopg2 cannot even write it down: U+0000, a lone surrogate
    return ErrorKind.SYSTEMIC
