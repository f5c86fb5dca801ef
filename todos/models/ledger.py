"""How far each partition is stored, and which polls read it."""

from django.db import models
from django.db.models.functions import Now


class HaltReason(models.TextChoices):
    """Why a partition is halted. All but those of UNTIL_REWIND end when the partition advances."""

    LOG_DIVERGED = "log_diverged", "Kafka's log is not the one that was stored"
    TOPIC_RECREATED = "topic_recreated", "the topic was deleted and created again"
    LEDGER_EDITED = "ledger_edited", "the ledger is not where its batches end"
    UNREADABLE = "unreadable", "Kafka cannot return the next record"
    UNSUPPORTED_VERSION = "unsupported_version", "the next record needs a newer worker"
    TOO_MANY_DEAD_LETTERS = "too_many_dead_letters", "too many records cannot be stored"
    STORE_REFUSED = "store_refused", "the database refuses to store the records"


# The log is another one, so no record of it proves that the cause is gone: only an operator ends these.
UNTIL_REWIND = (HaltReason.LOG_DIVERGED, HaltReason.TOPIC_RECREATED)


class PartitionLedger(models.Model):
    """How far one partition is stored, and which poll holds it. It alone decides about offsets.

    `next_offset` advances in the transaction of the rows it covers, and only by compare-and-swap on itself and
    `epoch`. Kafka's committed offset of the group is a copy for tools. While a partition is halted,
    `why_halted` says why; `halt_reason` decides whether reading on can end the halt.
    """

    topic = models.CharField(max_length=249)
    partition = models.PositiveIntegerField()
    next_offset = models.PositiveBigIntegerField(default=0, help_text="The first offset that is not stored yet.")
    topic_id = models.UUIDField(null=True, blank=True, help_text="Kafka's id of the topic that these offsets are of.")
    epoch = models.PositiveBigIntegerField(default=0, help_text="Counts the leases; an older holder can store nothing.")
    holder = models.UUIDField(null=True, blank=True, help_text="The poll that leases it, while that poll is alive.")
    # The last record before next_offset: by it each lease verifies that Kafka's log is still the one that was stored.
    last_offset = models.PositiveBigIntegerField(null=True, blank=True, help_text="The last record that was read.")
    last_checksum = models.PositiveBigIntegerField(null=True, blank=True, help_text="CRC-32 of that record's content.")
    last_leader_epoch = models.IntegerField(null=True, blank=True, help_text="Kafka's leader epoch of that record.")
    moved_at = models.DateTimeField(null=True, blank=True, help_text="When next_offset last moved.")
    generation = models.PositiveIntegerField(default=0, help_text="Counts the rewinds; each starts a chain of batches.")
    # Workers of the release before know only the text, and clear it when they advance the partition.
    halt_reason = models.CharField(
        max_length=32, choices=HaltReason, blank=True, default="", db_default="", help_text="Why it is halted."
    )
    halt_text = models.TextField(
        db_column="alarm",
        blank=True,
        default="",
        db_default="",
        help_text="Why it is halted, and what to do. Empty while it is not.",
    )
    halted_since = models.DateTimeField(null=True, blank=True, help_text="When it was halted.")
    halt_epoch = models.PositiveBigIntegerField(null=True, blank=True, help_text="The epoch in which it was halted.")
    # Totals since the first record, which a trim of the history keeps. Each batch adds to them in its transaction.
    batches_total = models.PositiveBigIntegerField(default=0, db_default=0)
    stored_total = models.PositiveBigIntegerField(default=0, db_default=0)
    duplicates_total = models.PositiveBigIntegerField(default=0, db_default=0)
    dead_letters_total = models.PositiveBigIntegerField(default=0, db_default=0)
    erased_total = models.PositiveBigIntegerField(default=0, db_default=0)
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

    @property
    def why_halted(self) -> str:
        """The text of the halt, or the label of its reason if that lasts until a rewind; empty while it is not halted.

        A worker of the release before clears the text when it stores, and leaves the reason. Of the other reasons that
        ends the halt.
        """
        return self.halt_text or (self.get_halt_reason_display() if self.halt_reason in UNTIL_REWIND else "")


class Poller(models.Model):
    """A poll that is running. If `expires_at` passes without a heartbeat, its partitions are free again."""

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
    """A poll that has ended, with or without records. It shows that beat and the workers are alive."""

    topic = models.CharField(max_length=249)
    worker = models.CharField(max_length=255, help_text="Host and process.")
    task_id = models.CharField(max_length=255, blank=True, help_text="Of the Celery task; empty for a command.")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(db_default=Now())
    batches = models.PositiveIntegerField()
    stored = models.PositiveIntegerField()
    duplicates = models.PositiveIntegerField()
    dead_letters = models.PositiveIntegerField()
    erased = models.PositiveIntegerField(default=0, db_default=0, help_text="Records of erased owners, not stored.")
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
    """A schedule that a pause switched off. A resume switches on only these: others may be off on purpose."""

    schedule = models.OneToOneField("django_celery_beat.PeriodicTask", models.CASCADE, primary_key=True)
    paused_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return str(self.schedule)
