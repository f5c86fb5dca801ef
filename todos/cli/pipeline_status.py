"""How pipeline_status shows a report: a table for people, wide enough for a script too."""

from datetime import timedelta

from django.utils.timesince import timesince
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from todos.monitoring.lag import PartitionStatus
from todos.monitoring.overview import State as PartState
from todos.monitoring.report import Report, State

PIPE_WIDTH = 160  # a script wants a partition per line
STYLES = {State.OK: "green", State.ATTENTION: "yellow", State.UNREACHABLE: "red"}
PART_STYLES = {PartState.OK: "green", PartState.WARNING: "yellow", PartState.BAD: "red", PartState.UNKNOWN: "yellow"}


def as_text(report: Report) -> str:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    with console.capture() as text:
        console.print(as_table(report))
    return text.get()


def as_screen(report: Report) -> RenderableType:
    """For --watch: what matters comes first, the table may be cut."""
    state = Text(f"{report.at:%H:%M:%S} UTC  {report.state}", style=STYLES[report.state])
    return Group(state, *map(Text, report.problems), as_table(report))


def as_table(report: Report) -> RenderableType:
    parts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for part in report.parts:
        parts.add_row(part.name, Text(part.state, style=PART_STYLES[part.state]), part.text)
    return Group(parts, _partitions(report))


def _partitions(report: Report) -> RenderableType:
    if report.pipeline is None:
        return Text(f"topic {report.topic}: nothing is known without the database")
    table = Table(title=f"topic {report.topic}")
    for heading in ("partition", "next offset", "end", "lag"):
        table.add_column(heading, justify="right")
    table.add_column("last moved")
    table.add_column("leased by")
    table.add_column("deleted in", justify="right")
    table.add_column("lost", justify="right")
    for partition in report.pipeline.partitions:
        table.add_row(*_cells(partition))
    table.add_section()
    table.add_row("all", "", "", _number(report.lag), "", "", _duration(report.deleted_in), _number(report.lost))
    retention = report.pipeline.retention
    if retention and retention.bytes is not None:
        size = f"retention.bytes is {retention.bytes:,} for each partition"
        return Group(table, Text(f"Kafka may delete earlier than that: {size}"))
    return table


def _cells(row: PartitionStatus) -> list[str]:
    moved = f"{timesince(row.moved_at, depth=1)} ago" if row.moved_at else "never"
    numbers = [str(row.partition), _number(row.next_offset), _number(row.end), _number(row.lag)]
    return [*numbers, moved, row.holder or "-", _duration(row.deleted_in), _number(row.lost)]


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else str(timedelta(seconds=int(seconds)))


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
