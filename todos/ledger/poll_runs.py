"""Which polls have ended, and how: what tells a pipeline that stands still from one that has nothing to do."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import Error as DatabaseFailure
from django.db import connection
from django.utils import timezone

from todos.ledger.batch_history import WriterInfo
from todos.models import PollRun

logger = logging.getLogger(__name__)
TRIM_ROWS = 10_000


@dataclass
class PollSummary:
    """What one poll did; counts of records, seconds of time."""

    stored: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    lost: int = 0
    batches: int = 0
    failures: int = 0
    seconds: float = 0.0
    last_error: str = ""

    @property
    def records(self) -> int:
        return self.stored + self.duplicates + self.dead_letters

    def __str__(self) -> str:
        text = (
            f"stored {self.stored:,} todos in {self.batches:,} batches and {self.seconds:.1f} s"
            f" ({self.duplicates:,} duplicates, {self.dead_letters:,} dead letters, {self.lost:,} lost)"
        )
        return f"{text}; {self.failures} failures, the last one: {self.last_error}" if self.failures else text


def record_run(topic: str, origin: WriterInfo, started_at: datetime, summary: PollSummary) -> None:
    """After the poll has given everything back: without a database it is merely not told."""
    counts = ("batches", "stored", "duplicates", "dead_letters", "lost", "failures", "last_error")
    try:
        PollRun.objects.create(
            topic=topic,
            worker=origin.worker,
            task_id=origin.task_id,
            started_at=started_at,
            **{name: getattr(summary, name) for name in counts},
        )
    except DatabaseFailure as exc:
        logger.warning("cannot record that a poll of %s ended: %s", topic, exc)
        connection.close()


def last_end(topic: str) -> datetime | None:
    """When a poll of the topic ended last; None when none ever did, or all of them are forgotten."""
    return PollRun.objects.filter(topic=topic).values_list("ended_at", flat=True).first()


def trim_runs(keep_days: int) -> int:
    """Forget old ones, the oldest first and 10,000 at most. The number of rows removed."""
    old = PollRun.objects.order_by("id")[:TRIM_ROWS].values_list("id", "ended_at")
    before = timezone.now() - timedelta(days=keep_days)
    removed, _ = PollRun.objects.filter(id__in=[id_ for id_, ended_at in old if ended_at < before]).delete()
    return removed
