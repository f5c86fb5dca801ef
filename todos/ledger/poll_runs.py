"""Record each poll that ends, so that operators can tell an idle pipeline from one that does not run."""

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db import Error as DatabaseFailure
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from edge_api.shared.outages import Outage
from todos.ledger.batch_history import WriterInfo
from todos.models import PollRun

logger = logging.getLogger(__name__)
TRIM_ROWS = 10_000
LOCK_TIMEOUT = "5s"
_recording = Outage(logger, "cannot record that polls end", "recording again that polls end")


@dataclass
class PollSummary:
    """What one poll has done. Counts are records, but for `batches`, `failures`, and `lost`, which counts offsets."""

    stored: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    erased: int = 0
    lost: int = 0
    batches: int = 0
    failures: int = 0
    seconds: float = 0.0
    last_error: str = ""

    def add_batch(self, *, stored: int, duplicates: int, dead_letters: int, erased: int) -> None:
        """Count one stored batch."""
        self.batches += 1
        self.stored += stored
        self.duplicates += duplicates
        self.dead_letters += dead_letters
        self.erased += erased

    def add_failure(self, exc: BaseException) -> None:
        """Count one failure and keep its text."""
        self.failures += 1
        self.last_error = describe_error(exc)

    @property
    def records(self) -> int:
        """How many records were stored, as todos or as dead letters, with duplicates and those of erased owners."""
        return self.stored + self.duplicates + self.dead_letters + self.erased

    def __str__(self) -> str:
        erased = f"{self.erased:,} of erased owners, " if self.erased else ""
        text = (
            f"stored {self.stored:,} todos in {self.batches:,} batches and {self.seconds:.1f} s"
            f" ({self.duplicates:,} duplicates, {self.dead_letters:,} dead letters, {erased}{self.lost:,} lost)"
        )
        return f"{text}; {self.failures} failures, the last one: {self.last_error}" if self.failures else text


def describe_error(exc: BaseException) -> str:
    """Describe an error by its class and text, and one of the database by PostgreSQL's name for it, like DiskFull."""
    named = exc.__cause__ if isinstance(exc, DatabaseFailure) and exc.__cause__ else exc
    return f"{type(named).__name__}: {str(exc).strip()}"


def record_run(topic: str, writer: WriterInfo, summary: PollSummary) -> None:
    """Record that a poll ended. Without a database a warning is logged instead, once: the poll is over anyway."""
    counts = ("batches", "stored", "duplicates", "dead_letters", "erased", "lost", "failures", "last_error")
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            PollRun.objects.create(
                topic=topic,
                worker=writer.worker,
                task_id=writer.task_id,
                started_at=Now() - timedelta(seconds=summary.seconds),  # a worker's clock may be wrong
                **{name: getattr(summary, name) for name in counts},
            )
    except DatabaseFailure as exc:
        _recording.begin(exc)
        connection.close()
    else:
        _recording.end()


def trim_runs(keep_days: int) -> int:
    """Delete poll runs older than `keep_days`, the oldest first, TRIM_ROWS at most. Returns the number of rows."""
    old = PollRun.objects.order_by("id")[:TRIM_ROWS].values_list("id", "ended_at")
    before = timezone.now() - timedelta(days=keep_days)
    removed, _ = PollRun.objects.filter(id__in=[id_ for id_, ended_at in old if ended_at < before]).delete()
    return removed
