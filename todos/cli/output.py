"""How commands show progress, report a failed database, and end in a pipe."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress_bar(description: str) -> Progress:
    """Return a bar for standard error that counts items. It disappears at the end."""
    columns = (TextColumn(description), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def database_error(exc: DatabaseFailure, *, returncode: int = 1) -> CommandError:
    """Return the error of a command whose query failed: the first line of the database's message."""
    return CommandError(f"database: {str(exc).strip().splitlines()[0]}", returncode=returncode)


@contextmanager
def exit_quietly_when_pipe_closes() -> Iterator[None]:
    """End as other tools do when the next program in the pipe exits: silently, with the exit code of the signal."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python still flushes at the end
        sys.exit(128 + signal.SIGPIPE)
