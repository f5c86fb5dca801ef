"""Classify failures to store, so that each kind is handled in its own way.

An error is classified by its class and SQLSTATE, never by its text. Appendix A of PostgreSQL's manual lists the
SQLSTATE classes.
"""

from enum import Enum

from django.db import Error as DatabaseFailure
from django.db import InterfaceError, OperationalError


class ErrorKind(Enum):
    """What a failure to store calls for."""

    TRANSIENT = "hold the offsets and retry: the database is unavailable, busy, full or read-only"
    DATA = "a record of the batch can never be stored: find it, dead-letter it, store the rest"
    SYSTEMIC = "schema, permissions or code are wrong: hold the offsets, tell the operator, dead-letter nothing"


class SystemicFailure(Exception):
    """Nothing was stored and nothing dead-lettered. An operator has to fix what the message names."""


STATEMENT_CANCELLED = "57014"  # by the statement time-out, above all
UNIQUE_VIOLATION = "23505"
LOCK_NOT_AVAILABLE = "55P03"  # within the lock time-out
READ_ONLY = "25006"  # a standby during a switch-over
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
    READ_ONLY,
    "25P03",  # idle in transaction for too long: this worker was frozen
    LOCK_NOT_AVAILABLE,
}


def classify_error(exc: BaseException) -> ErrorKind:
    """Classify an exception that storing a batch raised. Unknown exceptions are systemic."""
    state = sqlstate(exc)
    if state is None:
        return _classify_without_state(exc)
    if state in DATA_STATES or state[:2] in DATA_CLASSES:
        return ErrorKind.DATA
    if state in TRANSIENT_STATES or state[:2] in TRANSIENT_CLASSES:
        return ErrorKind.TRANSIENT
    return ErrorKind.SYSTEMIC


def sqlstate(exc: BaseException) -> str | None:
    """Return PostgreSQL's five-character error code, or None if PostgreSQL never answered."""
    return getattr(exc.__cause__ if isinstance(exc, DatabaseFailure) else exc, "pgcode", None)


def _classify_without_state(exc: BaseException) -> ErrorKind:
    if isinstance(exc, OperationalError | InterfaceError):
        return ErrorKind.TRANSIENT  # the connection broke, or was never established
    if isinstance(exc, ValueError):
        return ErrorKind.DATA  # psycopg2 cannot encode the value: U+0000, a lone surrogate
    return ErrorKind.SYSTEMIC
