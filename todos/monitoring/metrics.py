"""Every metric of Django's side, for Prometheus. Each scrape queries PostgreSQL and Kafka.

Every web process reads the same database, so Prometheus may scrape any of them and no restart resets a counter. Lags
may differ by the few seconds for which each process keeps Kafka's answer. Labels
are bounded: partitions, the reasons of dead letters, the components of the pipeline.
"""

from collections.abc import Iterator, Mapping

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from todos.models import DeadLetter, DeadLetterTotal, PartitionLedger
from todos.monitoring.checks import CheckState, ComponentCheck
from todos.monitoring.overview import Overview
from todos.monitoring.problems import Problem, ProblemCode
from todos.monitoring.queries import MAX_COUNTED_LETTERS
from todos.monitoring.report import build_report


class PipelineMetrics(Collector):
    """Collects the metrics at each scrape."""

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, or only components and problems while the database cannot be read."""
        report = build_report()
        yield _components(report.checks)
        yield _problems(report.problems)
        if report.overview is None:
            return
        try:
            ledger = list(PartitionLedger.objects.filter(topic=settings.KAFKA.topic))
            letters = dict(DeadLetterTotal.objects.values_list("reason").annotate(Sum("letters")))
        except DatabaseError:
            connection.close()
            return
        yield from _totals(ledger)
        yield from _dead_letters(letters, report.overview.dead_letters)
        yield from _partitions(report.overview)
        yield from _polling(report.overview)


PART_UP = "1 while this component of the pipeline works, 0 while it does not; absent while its state is unknown."


def _totals(ledger: list[PartitionLedger]) -> Iterator[Metric]:
    """Totals since the first record, which trimming the history does not reduce."""
    for column, name, text in (
        ("stored_total", "todo_stored", "Todos that became rows."),
        ("duplicates_total", "todo_duplicates", "Records whose todo was stored before."),
        ("erased_total", "todo_erased", "Records of erased owners, which are not stored."),
        ("lost_total", "todo_lost_offsets", "Offsets that were never stored: deleted by Kafka, or skipped."),
        ("bytes_total", "todo_ingested_bytes", "Bytes of the records' values."),
    ):
        yield _counter(name, text, "partition", {str(row.partition): getattr(row, column) for row in ledger})
    batches = sum(row.batches_total for row in ledger)
    seconds = sum(row.milliseconds_total for row in ledger) / 1000
    records = sum(row.stored_total + row.duplicates_total + row.dead_letters_total + row.erased_total for row in ledger)
    yield SummaryMetricFamily(
        "todo_batch_seconds", "Duration of a batch, until just before its COMMIT.", batches, seconds
    )
    yield SummaryMetricFamily("todo_batch_records", "Records per batch of one partition.", batches, records)


def _dead_letters(totals: Mapping[str, int], still_open: Mapping[str, int]) -> Iterator[Metric]:
    """Dead letters are never deleted, so their number is a counter."""
    none = dict.fromkeys(map(str, DeadLetter.Reason), 0)
    yield _counter("todo_dead_letters", "Records that cannot become a todo.", "reason", {**none, **totals})
    text = f"Dead letters that wait for an operator, {MAX_COUNTED_LETTERS:,} at most."
    yield _gauge("todo_dead_letters_open", text, "reason", {**none, **still_open})


def _partitions(overview: Overview) -> Iterator[Metric]:
    rows = overview.status.partitions
    lag = {row.partition: max(row.lag, 0) for row in rows if row.lag is not None}
    kept = {row.partition: row.deleted_in for row in rows if row.deleted_in is not None}
    halted = {row.partition: int(bool(row.halt_text)) for row in rows}
    yield _gauge("todo_lag_records", "Records in Kafka that are not stored yet.", "partition", lag)
    yield _gauge(
        "todo_retention_seconds",
        "Seconds until Kafka may delete the oldest unread record; absent when none is unread.",
        "partition",
        kept,
    )
    yield _gauge("todo_partition_alarm", "1 while the partition is halted and needs an operator.", "partition", halted)


def _components(checks: list[ComponentCheck]) -> Metric:
    is_up = {
        check.name.lower(): int(check.state is not CheckState.BAD)
        for check in checks
        if check.state is not CheckState.UNKNOWN
    }
    return _gauge("todo_part_up", PART_UP, "part", is_up)


def _problems(problems: list[Problem]) -> Metric:
    none = {str(code): 0 for code in ProblemCode if code.needs_operator}
    present = {str(problem.code): 1 for problem in problems if problem.code.needs_operator}
    return _gauge("todo_problem", "1 while this problem needs an operator.", "code", none | present)


def _polling(overview: Overview) -> Iterator[Metric]:
    yield GaugeMetricFamily("todo_polls_running", "Polls that are running now.", len(overview.polls))
    is_paused = int(not overview.schedule.is_enabled)
    yield GaugeMetricFamily("todo_polling_paused", "1 while no schedule of the poll is enabled.", is_paused)
    if overview.last_poll:
        age = (overview.at - overview.last_poll.ended_at).total_seconds()
        yield GaugeMetricFamily("todo_last_poll_age_seconds", "Seconds since the last poll ended.", max(age, 0))


def _counter(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _fill(CounterMetricFamily(name, text, labels=[label]), values)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float] | Mapping[int, float]) -> Metric:
    return _fill(GaugeMetricFamily(name, text, labels=[label]), values)


def _fill(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float] | Mapping[int, float]
) -> CounterMetricFamily | GaugeMetricFamily:
    for label, value in values.items():
        family.add_metric([str(label)], value)
    return family


REGISTRY = CollectorRegistry(auto_describe=False)
REGISTRY.register(PipelineMetrics())


@csrf_exempt
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape by Prometheus."""
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
