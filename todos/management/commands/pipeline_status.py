from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.timesince import timesince
from rich.console import Console
from rich.table import Table

from todos.kafka import KafkaLog
from todos.status import PartitionStatus, PipelineStatus, pipeline_status

PIPE_WIDTH = 160  # a script wants a partition per line


class Command(BaseCommand):
    help = (
        "A table: partition, next offset, end, lag, who leases it, when Kafka may delete the oldest unread record,"
        " and how many offsets were lost. Exit code 1 while Kafka does not answer, or a partition stands still with an"
        " alarm: most of a batch is bad, the table refuses every todo, the topic was made anew."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        log = KafkaLog(settings.KAFKA)
        try:
            status = pipeline_status(log)
        finally:
            log.close()
        console = Console()
        if not console.is_terminal:
            console = Console(width=PIPE_WIDTH)
        with console.capture() as text:
            console.print(_table(status))
        self.stdout.write(text.get())
        if status.retention and status.retention.bytes is not None:
            size = f"{status.retention.bytes:,}"
            self.stdout.write(f"Kafka may delete earlier than that: retention.bytes is {size} for each partition\n")
        if status.kafka_error:
            raise CommandError(f"Kafka at {settings.KAFKA.bootstrap_servers}: {status.kafka_error}")
        if alarms := [f"partition {row.partition}: {row.alarm}" for row in status.partitions if row.alarm]:
            raise CommandError("nothing is stored of\n" + "\n".join(alarms))


def _table(status: PipelineStatus) -> Table:
    table = Table(title=f"topic {status.topic}")
    for heading in ("partition", "next offset", "end", "lag"):
        table.add_column(heading, justify="right")
    table.add_column("last moved")
    table.add_column("leased by")
    table.add_column("deleted in", justify="right")
    table.add_column("lost", justify="right")
    for partition in status.partitions:
        table.add_row(*_cells(partition))
    table.add_section()
    soonest = min((p.deleted_in for p in status.partitions if p.deleted_in is not None), default=None)
    lost = sum(partition.lost for partition in status.partitions)
    table.add_row("all", "", "", _number(status.lag), "", "", _duration(soonest), _number(lost))
    return table


def _cells(row: PartitionStatus) -> list[str]:
    moved = f"{timesince(row.moved_at, depth=1)} ago" if row.moved_at else "never"
    numbers = [str(row.partition), _number(row.next_offset), _number(row.end), _number(row.lag)]
    return [*numbers, moved, row.holder or "-", _duration(row.deleted_in), _number(row.lost)]


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else str(timedelta(seconds=int(seconds)))


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
