"""Every metric of Django's side, for Prometheus: what PostgreSQL and Kafka know, asked anew at each scrape.

All web processes tell the same, so no counter starts again and it does not matter which of them is asked. Labels are
bounded: partitions, the reasons of dead letters, the parts of the pipeline.
"""

from collections.abc import Iterator, Mapping

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from todos.models import DeadLetter, PartitionLedger
from todos.monitoring.overview import Overview, State, overview


class PipelineMetrics(Collector):
    def collect(self) -> Iterator[Metric]:
        try:
            ledger = list(PartitionLedger.objects.filter(topic=settings.KAFKA.topic))
            letters = _dead_letters()
            now = overview()
        except DatabaseError:
            connection.close()
            yield _gauge("todo_part_up", PART_UP, "part", {"database": 0})
            return
        yield from _totals(ledger)
        yield from letters
        yield from _partitions(now)
        yield from _polling(now)


PART_UP = "1 while this part of the pipeline works, 0 while it does not; left out while that cannot be told."


def _totals(ledger: list[PartitionLedger]) -> Iterator[Metric]:
    """Since the first record, whatever the history forgets."""
    for column, name, text in (
        ("stored_total", "todo_stored", "Todos that became rows."),
        ("duplicates_total", "todo_duplicates", "Records whose todo was there before."),
        ("lost_total", "todo_lost_offsets", "Offsets that were never stored: deleted by Kafka, or skipped."),
        ("bytes_total", "todo_ingested_bytes", "Bytes of the records' values."),
    ):
        yield _counter(name, text, "partition", {str(row.partition): getattr(row, column) for row in ledger})
    batches = sum(row.batches_total for row in ledger)
    seconds = sum(row.milliseconds_total for row in ledger) / 1000
    records = sum(row.stored_total + row.duplicates_total + row.dead_letters_total for row in ledger)
    yield SummaryMetricFamily("todo_batch_seconds", "Until just before a batch's COMMIT.", batches, seconds)
    yield SummaryMetricFamily("todo_batch_records", "Records of a batch, of one partition.", batches, records)


def _dead_letters() -> list[Metric]:
    """Rows are only ever added, so their number is a counter."""
    is_open = Count("id", filter=Q(status=DeadLetter.Status.OPEN))
    rows = list(DeadLetter.objects.order_by().values_list("reason").annotate(all=Count("id"), open=is_open))
    none = dict.fromkeys(map(str, DeadLetter.Reason), 0)
    total, still_open = ({reason: row[place] for reason, *row in rows} for place in (0, 1))
    return [
        _counter("todo_dead_letters", "Records that could never be a todo.", "reason", none | total),
        _gauge("todo_dead_letters_open", "Dead letters that wait for somebody.", "reason", none | still_open),
    ]


def _partitions(now: Overview) -> Iterator[Metric]:
    rows = now.status.partitions
    lag = {row.partition: max(row.lag, 0) for row in rows if row.lag is not None}
    kept = {row.partition: row.deleted_in for row in rows if row.deleted_in is not None}
    alarm = {row.partition: int(bool(row.alarm)) for row in rows}
    yield _gauge("todo_lag_records", "Records in Kafka that are not stored yet.", "partition", lag)
    yield _gauge(
        "todo_retention_seconds",
        "Until Kafka may delete the oldest unread record; left out when none is unread.",
        "partition",
        kept,
    )
    yield _gauge("todo_partition_alarm", "1 while the partition stands still until somebody looks.", "partition", alarm)


def _polling(now: Overview) -> Iterator[Metric]:
    known = {part.name.lower(): int(part.state is not State.BAD) for part in now.parts if part.state != State.UNKNOWN}
    yield _gauge("todo_part_up", PART_UP, "part", known)
    yield GaugeMetricFamily("todo_polls_running", "Polls that read now.", len(now.polls))
    yield GaugeMetricFamily("todo_polling_paused", "1 while no schedule polls.", int(not now.schedule.is_enabled))
    if now.last_poll:
        age = (now.at - now.last_poll.ended_at).total_seconds()
        yield GaugeMetricFamily("todo_last_poll_age_seconds", "Since a poll ended last.", max(age, 0))


def _counter(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _fill(CounterMetricFamily(name, text, labels=[label]), values)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float] | Mapping[int, float]) -> Metric:
    return _fill(GaugeMetricFamily(name, text, labels=[label]), values)


def _fill(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float] | Mapping[int, float]
) -> CounterMetricFamily | GaugeMetricFamily:
    for value, number in values.items():
        family.add_metric([str(value)], number)
    return family


REGISTRY = CollectorRegistry(auto_describe=False)
REGISTRY.register(PipelineMetrics())


@csrf_exempt
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
