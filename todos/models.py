"""What PostgreSQL holds: the todos, how far each partition is stored, who polls it, and what could not be stored."""

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Literal

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from edge_api.contract import DESCRIPTION_MAX, FINGERPRINT_LENGTH, OWNER_MAX, TITLE_MAX


class TodoQuerySet(models.QuerySet["Todo"]):
    def datetimes(  # type: ignore[override]
        self,
        field_name: str,
        kind: Literal["year", "month", "day"],
        order: Literal["ASC"] = "ASC",
        tzinfo: tzinfo | None = None,
    ) -> Iterator[datetime]:
        """The starts of the periods that have todos, at the price of one index probe each.

        The admin's date hierarchy asks for them on every page; Django's SELECT DISTINCT reads the whole table.
        """
        todos, start = self.order_by(), datetime.min.replace(tzinfo=timezone.get_default_timezone())
        while first := todos.filter(**{f"{field_name}__gte": start}).aggregate(first=models.Min(field_name))["first"]:
            period = _period_start(timezone.localtime(first, tzinfo), kind)
            yield period
            start = _period_start(period + timedelta(days={"year": 366, "month": 31, "day": 1}[kind]), kind)


def _period_start(moment: datetime, kind: str) -> datetime:
    start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "day":
        return start
    return start.replace(day=1) if kind == "month" else start.replace(month=1, day=1)


class Todo(models.Model):
    """A todo. Its id is decided before Kafka, so that storing the same record twice changes nothing."""

    id = models.UUIDField(primary_key=True, editable=False)
    title = models.CharField(max_length=TITLE_MAX)
    description = models.TextField(max_length=DESCRIPTION_MAX, blank=True, default="")
    is_done = models.BooleanField("done", default=False)
    created_at = models.DateTimeField(editable=False, help_text="When the edge, or a foreign producer, accepted it.")
    stored_at = models.DateTimeField(editable=False, db_default=Now(), help_text="When it reached this database.")
    updated_at = models.DateTimeField(auto_now=True)
    source_partition = models.PositiveIntegerField(editable=False)
    source_offset = models.PositiveBigIntegerField(editable=False)
    request_id = models.CharField(
        max_length=128,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The client's X-Request-ID; empty where it sent none, and the todo's id served as one.",
    )
    owner = models.CharField(
        max_length=OWNER_MAX,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Who sent it: the subject of the token. Empty for a todo made without signing in.",
    )
    fingerprint = models.CharField(
        max_length=FINGERPRINT_LENGTH,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Of the content that came first under its Idempotency-Key; empty without a key.",
    )

    objects = TodoQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="todo_newest_first"),
            # Costs the ingest nothing: what it stores is not done.
            models.Index(fields=["-created_at", "-id"], name="todo_done", condition=models.Q(is_done=True)),
            # What is nobody's need not pay for it: only an open API lists that, and finds it in the list of all.
            models.Index(fields=["owner", "-created_at", "-id"], name="todo_of_owner", condition=~models.Q(owner="")),
            models.Index(
                fields=["owner", "-created_at", "-id"],
                name="todo_of_owner_done",
                condition=models.Q(is_done=True) & ~models.Q(owner=""),
            ),
        ]

    def __str__(self) -> str:
        return self.title


class PartitionLedger(models.Model):
    """How far one partition is stored, and which poll holds it: the truth about offsets.

    `next_offset` moves in the transaction of the rows it covers, and only by compare-and-swap on itself and
    `epoch`. Kafka's committed offset of the group is a copy for tools.
    """

    topic = models.CharField(max_length=249)
    partition = models.PositiveIntegerField()
    next_offset = models.PositiveBigIntegerField(default=0, help_text="The first offset that is not stored yet.")
    topic_id = models.UUIDField(null=True, blank=True, help_text="Kafka's id of the topic that these offsets are of.")
    epoch = models.PositiveBigIntegerField(default=0, help_text="Counts the leases; an older holder can store nothing.")
    holder = models.UUIDField(null=True, blank=True, help_text="The poll that leases it, while that poll is alive.")
    moved_at = models.DateTimeField(null=True, blank=True, help_text="When next_offset last moved.")
    generation = models.PositiveIntegerField(default=0, help_text="Counts the rewinds; each starts a chain of batches.")
    alarm = models.TextField(
        blank=True,
        default="",
        db_default="",
        help_text="Why it stands still until somebody looks; gone when it moves.",
    )
    # Since the first record, whatever the history forgets; each batch adds to them in its own transaction.
    batches_total = models.PositiveBigIntegerField(default=0, db_default=0)
    stored_total = models.PositiveBigIntegerField(default=0, db_default=0)
    duplicates_total = models.PositiveBigIntegerField(default=0, db_default=0)
    dead_letters_total = models.PositiveBigIntegerField(default=0, db_default=0)
    lost_total = models.PositiveBigIntegerField(default=0, db_default=0, help_text="Offsets.")
    bytes_total = models.PositiveBigIntegerField(default=0, db_default=0, help_text="Of the records' values.")
    milliseconds_total = models.PositiveBigIntegerField(default=0, db_default=0, help_text="In transactions.")

    class Meta:
        ordering = ["topic", "partition"]
        verbose_name = "ledger entry"
        verbose_name_plural = "ledger entries"
        constraints = [models.UniqueConstraint(fields=["topic", "partition"], name="ledger_one_row_per_partition")]

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class Poller(models.Model):
    """A poll that runs now. When `expires_at` passes without a heartbeat, its partitions are free again."""

    id = models.UUIDField(primary_key=True)
    topic = models.CharField(max_length=249)
    worker = models.CharField(max_length=255, help_text="Host and process.")
    started_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["started_at"]

    def __str__(self) -> str:
        return self.worker


class PollRun(models.Model):
    """A poll that has ended, busy or not: the sign of life of beat and workers."""

    topic = models.CharField(max_length=249)
    worker = models.CharField(max_length=255, help_text="Host and process.")
    task_id = models.CharField(max_length=255, blank=True, help_text="Of the Celery task; empty for a command.")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(db_default=Now())
    batches = models.PositiveIntegerField()
    stored = models.PositiveIntegerField()
    duplicates = models.PositiveIntegerField()
    dead_letters = models.PositiveIntegerField()
    lost = models.PositiveBigIntegerField(help_text="Offsets that Kafka deleted before they were stored.")
    failures = models.PositiveIntegerField()
    last_error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "poll"
        indexes = [models.Index(fields=["topic", "-id"], name="poll_run_newest")]

    def __str__(self) -> str:
        return f"{self.worker} at {self.started_at:%H:%M:%S}"


class PausedSchedule(models.Model):
    """A schedule that a pause switched off. A resume switches on no other: somebody may have wanted it off."""

    schedule = models.OneToOneField("django_celery_beat.PeriodicTask", models.CASCADE, primary_key=True)
    paused_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return str(self.schedule)


class SourceModel(models.Model):
    """Something that happened at a place in the log."""

    topic = models.CharField(max_length=249)
    partition = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True


class DeadLetter(SourceModel):
    """A record that can never be a todo, with everything that is needed to judge it and to send it again."""

    class Reason(models.TextChoices):
        EMPTY = "empty", "no value"
        INVALID = "invalid", "not a valid TodoCreated event"
        REJECTED = "rejected", "refused by the database"
        UNDECODABLE = "undecodable", "not a record in Kafka's format"
        CONFLICT = "conflict", "another content came first under its Idempotency-Key"

    class Status(models.TextChoices):
        OPEN = "open", "open"
        REDRIVEN = "redriven", "redriven"
        DISCARDED = "discarded", "discarded"

    offset = models.PositiveBigIntegerField()
    reason = models.CharField(max_length=32, choices=Reason)
    detail = models.TextField(help_text="Each field at fault and why.")
    key = models.BinaryField(null=True)
    value = models.BinaryField(null=True)
    headers = models.JSONField(default=list, help_text="Pairs of name (Python's unicode_escape) and value (base64).")
    timestamp_ms = models.BigIntegerField(null=True, help_text="The record's time, milliseconds since 1970.")
    # Defaults of the database too: a worker of the version before this one goes on storing dead letters.
    status = models.CharField(max_length=16, choices=Status, default=Status.OPEN, db_default=Status.OPEN)
    replays = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How often this todo was redriven before it came here."
    )
    edited_value = models.BinaryField(null=True, help_text="What a redrive sends in place of the value.")
    todo_id = models.UUIDField(
        null=True, blank=True, help_text="The todo that a redrive makes; decided once, before anything is sent."
    )
    changed_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    changed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["topic", "partition", "offset"], name="dead_letter_once_per_position")
        ]
        indexes = [models.Index(fields=["-id"], condition=models.Q(status="open"), name="dead_letter_open")]

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class OffsetLoss(SourceModel):
    """A range of offsets that nobody stored: first included, next not."""

    class Cause(models.TextChoices):
        DELETED = "deleted", "Kafka deleted it before it was stored"
        SKIPPED = "skipped", "an operator moved the ledger past it"

    first_offset = models.PositiveBigIntegerField()
    next_offset = models.PositiveBigIntegerField()
    cause = models.CharField(max_length=16, choices=Cause, default=Cause.DELETED)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "offset losses"
        indexes = [models.Index(fields=["topic", "partition", "next_offset"], name="offset_loss_by_position")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(next_offset__gt=models.F("first_offset")), name="offset_loss_not_empty"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}: {self.first_offset} to {self.next_offset - 1}"


class DeadLetterEvent(models.Model):
    """Who did what to a dead letter, and when. Rows are only ever added."""

    class Action(models.TextChoices):
        EDITED = "edited"
        REDRIVEN = "redriven"
        DISCARDED = "discarded"
        REOPENED = "reopened"

    letter = models.ForeignKey(DeadLetter, on_delete=models.PROTECT, related_name="events")
    action = models.CharField(max_length=16, choices=Action)
    actor = models.CharField(max_length=150, help_text="A user's name, or manage.py.")
    note = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"


class Batch(SourceModel):
    """What became of one range of a partition: `first_offset` included, `next_offset` not.

    The batches of a generation are one chain, and the database itself refuses a gap, an overlap and a fork: each
    batch begins where another ends (a foreign key, made in the migration because Django has none over several
    columns), and no two begin, or end, at the same offset. The chain hangs on one anchor, a batch that covers
    nothing and begins nowhere.
    """

    generation = models.PositiveIntegerField(help_text="Counts the rewinds of the partition.")
    first_offset = models.PositiveBigIntegerField(null=True, help_text="None for the anchor of a chain.")
    next_offset = models.PositiveBigIntegerField()
    stored = models.PositiveIntegerField(default=0, help_text="Todos that were new.")
    duplicates = models.PositiveIntegerField(default=0, help_text="Records whose todo was there before.")
    dead_letters = models.PositiveIntegerField(default=0)
    lost = models.PositiveBigIntegerField(default=0, help_text="Offsets that nobody stored; see the offset losses.")
    bytes = models.PositiveBigIntegerField(default=0, help_text="Of the records' values.")
    milliseconds = models.PositiveIntegerField(
        default=0, help_text="The transaction until just before its commit, with all its partitions."
    )
    worker = models.CharField(max_length=255, default="", help_text="Host and process.")
    task_id = models.CharField(max_length=255, default="", help_text="Of the Celery task; empty for a command.")

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "batches"
        indexes = [models.Index(fields=["topic", "created_at"], include=["stored"], name="batch_by_time")]
        constraints = [
            models.UniqueConstraint(fields=["topic", "partition", "generation", "next_offset"], name="batch_ends_once"),
            models.UniqueConstraint(
                # The selective column first: no plan may take this index for a search by next_offset.
                fields=["first_offset", "topic", "partition", "generation"],
                nulls_distinct=False,  # one anchor
                name="batch_begins_once",
            ),
            models.CheckConstraint(
                condition=models.Q(next_offset__gt=models.F("first_offset")), name="batch_not_empty"
            ),
            models.CheckConstraint(
                # Fewer than offsets where the log has holes: compaction, markers of transactions.
                condition=models.Q(
                    next_offset__gte=models.F("first_offset")
                    + models.F("stored")
                    + models.F("duplicates")
                    + models.F("dead_letters")
                    + models.F("lost")
                ),
                name="batch_counts_fit",
            ),
        ]

    def __str__(self) -> str:
        if self.first_offset is None:
            return f"{self.topic}/{self.partition}: anchor at {self.next_offset}"
        return f"{self.topic}/{self.partition}: {self.first_offset} to {self.next_offset - 1}"
