"""Threads with a database connection of their own; an error in one of them fails the test."""

import threading
from collections.abc import Callable

from django.db import connections


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """It runs already; its connection is closed in the end."""

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def in_threads(*works: Callable[[], object]) -> None:
    """All of them at the same time, until the last one has ended."""
    for thread in [in_thread(work) for work in works]:
        thread.join()
