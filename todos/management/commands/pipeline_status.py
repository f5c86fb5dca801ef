from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.timesince import timesince
from rich.console import Console
from rich.table import Table

from todos.kafka import KafkaLog
from todos.status import PartitionStatus, PipelineStatus, pipeline_status


class Command(BaseCommand):
    help = "A table: partition, next offset, end, lag, who leases it. Exit code 1 while Kafka does not answer."

    def handle(self, *args: Any, **options: Any) -> None:
        log = KafkaLog(settings.KAFKA)
        try:
            status = pipeline_status(log)
        finally:
            log.close()
        console = Console()
        with console.capture() as text:
            console.print(_table(status))
        self.stdout.write(text.get())
        if status.kafka_error:
            raise CommandError(f"Kafka at {settings.KAFKA.bootstrap_servers}: {status.kafka_error}")


def _table(status: PipelineStatus) -> Table:
    table = Table(title=f"topic {status.topic}")
    for heading in ("partition", "next offset", "end", "lag"):
        table.add_column(heading, justify="right")
    table.add_column("last moved")
    table.add_column("leased by")
    for partition in status.partitions:
        table.add_row(*_cells(partition))
    table.add_section()
    table.add_row("all", "", "", _number(status.lag))
    return table


def _cells(row: PartitionStatus) -> list[str]:
    moved = f"{timesince(row.moved_at, depth=1)} ago" if row.moved_at else "never"
    return [str(row.partition), _number(row.next_offset), _number(row.end), _number(row.lag), moved, row.holder or "-"]


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
