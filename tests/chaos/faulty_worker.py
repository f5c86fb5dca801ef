"""The worker's Celery app, with points at which it strikes itself: `celery --app tests.chaos.faulty_worker worker`.

A file named after a signal and a point, such as SIGKILL-before-commit, in the folder that CHAOS_POINTS names, makes
the first process that gets there send itself that signal, once; its pid is added to the file's name. Production code
knows nothing of it: the points hang on Django's database connection, from outside.
"""

import inspect
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from celery.signals import worker_process_init
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver

from todoproject.celery import app

__all__ = ["app"]

_folder = Path(os.environ["CHAOS_POINTS"])
_is_storing = False  # since it looked for stored todos, until its COMMIT or ROLLBACK


def _reach(point: str) -> None:
    for signum in (signal.SIGKILL, signal.SIGSTOP):
        order = _folder / f"{signum.name}-{point}"
        try:
            order.rename(f"{order}.{os.getpid()}")
        except FileNotFoundError:
            continue
        os.kill(os.getpid(), signum)


def _execute(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    global _is_storing  # noqa: PLW0603 - a Celery child has one thread
    if "UPDATE todos_partitionledger" in sql and "SET next_offset" in sql:
        _reach("before-move")
    if "fingerprint FROM todos_todo WHERE id" in sql:  # the ledger has moved in this transaction; COPY comes next
        _reach("before-insert")
        _is_storing = True
    return execute(sql, params, many, context)


_commit, _rollback = BaseDatabaseWrapper.commit, BaseDatabaseWrapper.rollback


def _crash_around_commit(connection: BaseDatabaseWrapper) -> None:
    global _is_storing  # noqa: PLW0603
    if _is_storing:
        _reach("before-commit")
    _commit(connection)
    if _is_storing:
        _is_storing = False
        _reach("after-commit")


def _forget_and_roll_back(connection: BaseDatabaseWrapper) -> None:
    global _is_storing  # noqa: PLW0603
    _is_storing = False
    _rollback(connection)


@receiver(connection_created)
def _arm(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if _execute not in connection.execute_wrappers:
        connection.execute_wrappers.append(_execute)


patch.object(BaseDatabaseWrapper, "commit", _crash_around_commit).start()
patch.object(BaseDatabaseWrapper, "rollback", _forget_and_roll_back).start()


@worker_process_init.connect
def _break_the_build(**_: Any) -> None:
    """The ledger outside the transaction, to prove that the oracle notices."""
    if os.environ.get("CHAOS_LEDGER_OUTSIDE_TRANSACTION"):
        from todos.ingest.store import _store  # Django is set up by now

        patch("todos.ingest.store._store", inspect.unwrap(_store)).start()
