"""The sorting of failures, as psycopg2 and Django raise them. Each class is also provoked for real elsewhere."""

import psycopg2
import psycopg2.errorcodes
import pytest
from django.db import DatabaseError, InterfaceError, OperationalError
from psycopg2 import errors

from todos.ingest.errors import ErrorKind, classify_error

DATA = ("STRING_DATA_RIGHT_TRUNCATION", "DATETIME_FIELD_OVERFLOW", "CHECK_VIOLATION", "UNIQUE_VIOLATION",
        "NOT_NULL_VIOLATION", "UNTRANSLATABLE_CHARACTER", "PROGRAM_LIMIT_EXCEEDED")  # fmt: skip
TRANSIENT = ("CONNECTION_FAILURE", "SERIALIZATION_FAILURE", "DEADLOCK_DETECTED", "DISK_FULL", "OUT_OF_MEMORY",
             "TOO_MANY_CONNECTIONS", "ADMIN_SHUTDOWN", "CRASH_SHUTDOWN", "CANNOT_CONNECT_NOW", "QUERY_CANCELED",
             "LOCK_NOT_AVAILABLE", "READ_ONLY_SQL_TRANSACTION", "IDLE_IN_TRANSACTION_SESSION_TIMEOUT",
             "IO_ERROR")  # fmt: skip
SYSTEMIC = ("UNDEFINED_TABLE", "UNDEFINED_COLUMN", "INSUFFICIENT_PRIVILEGE", "SYNTAX_ERROR", "INVALID_PASSWORD",
            "INVALID_CATALOG_NAME", "INTERNAL_ERROR", "DATA_CORRUPTED", "FEATURE_NOT_SUPPORTED")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, ErrorKind.DATA) for name in DATA),
        *((name, ErrorKind.TRANSIENT) for name in TRANSIENT),
        *((name, ErrorKind.SYSTEMIC) for name in SYSTEMIC),
    ],
)
def test_a_state_has_its_class(name: str, expected: ErrorKind) -> None:
    state = getattr(psycopg2.errorcodes, name)
    raised = type("Raised", (errors.lookup(state),), {"pgcode": state})()
    wrapped = DatabaseError()
    wrapped.__cause__ = raised

    assert classify_error(raised) is expected
    assert classify_error(wrapped) is expected


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
def test_a_broken_connection_is_transient(kind: type[Exception]) -> None:
    assert classify_error(kind("server closed the connection unexpectedly")) is ErrorKind.TRANSIENT


@pytest.mark.parametrize("kind", [ValueError, UnicodeEncodeError])
def test_what_cannot_be_written_down_is_data(kind: type[Exception]) -> None:
    exc = kind("utf-8", "x", 0, 1, "lone surrogate") if kind is UnicodeEncodeError else kind("NUL")
    assert classify_error(exc) is ErrorKind.DATA


@pytest.mark.parametrize("exc", [RuntimeError(), MemoryError(), DatabaseError("no cause")])
def test_anything_else_is_systemic(exc: Exception) -> None:
    assert classify_error(exc) is ErrorKind.SYSTEMIC
