"""How the command import_todos shows how far it is, and what it rejects."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from todos.dead_letters.rendering import printable
from todos.transfer.imports.job import Progress
from todos.transfer.imports.lines import RejectedLine

SHOWN_REJECTS = 10


@contextmanager
def bar(total_bytes: int | None) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal; without an end where the size is not known."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    off = not console.is_terminal  # transient alone leaves an empty line elsewhere
    with Bar(*columns, TimeRemainingColumn(), console=console, transient=True, disable=off) as shown:
        task = shown.add_task("importing", total=total_bytes)
        yield lambda progress: shown.update(task, completed=progress.place.bytes, description=counts(progress))


def counts(progress: Progress) -> str:
    return f"{progress.accepted:,} todos accepted, {progress.rejected:,} lines rejected"


class FirstRejects:
    """A line for each of the first ones."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, rejected: RejectedLine) -> None:
        if len(self.lines) < SHOWN_REJECTS:
            why = "; ".join(f"{field}: {message}" for field, message in rejected.errors.items())
            self.lines.append(f"line {rejected.number}: {printable(why.encode(errors='backslashreplace'))}")
        elif len(self.lines) == SHOWN_REJECTS:
            self.lines.append("and more")
