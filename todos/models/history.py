"""The outcome of each range of offsets."""

from django.db import models

from todos.models.source import SourceModel


class Batch(SourceModel):
    """The outcome of one range of a partition: `first_offset` included, `next_offset` not.

    The batches of a generation are one chain, and the database itself refuses a gap, an overlap or a fork. Each batch
    begins where another ends: a foreign key, which the migration creates because Django has none over several columns.
    No two batches begin, or end, at the same offset. The first of a chain is its anchor: it covers nothing, and its
    `first_offset` is None.
    """

    generation = models.PositiveIntegerField(help_text="Counts the rewinds of the partition.")
    first_offset = models.PositiveBigIntegerField(null=True, help_text="None for the anchor of a chain.")
    next_offset = models.PositiveBigIntegerField()
    stored = models.PositiveIntegerField(default=0, help_text="Todos that were new.")
    duplicates = models.PositiveIntegerField(default=0, help_text="Records whose todo was there before.")
    dead_letters = models.PositiveIntegerField(default=0)
    erased = models.PositiveIntegerField(default=0, db_default=0, help_text="Records of erased owners, not stored.")
    lost = models.PositiveBigIntegerField(default=0, help_text="Offsets that were never stored; see the offset losses.")
    bytes = models.PositiveBigIntegerField(default=0, help_text="Of the records' values.")
    milliseconds = models.PositiveIntegerField(
        default=0, help_text="The transaction until just before its commit, with all its partitions."
    )
    # The last record, by which the offset is found up to which another log agrees with this one.
    last_offset = models.PositiveBigIntegerField(null=True, help_text="Its last record; None if it has none.")
    last_checksum = models.PositiveBigIntegerField(null=True, help_text="CRC-32 of that record's content.")
    last_leader_epoch = models.IntegerField(null=True, help_text="Kafka's leader epoch of that record.")
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


class OffsetLoss(SourceModel):
    """A range of offsets that were never stored: `first_offset` included, `next_offset` not."""

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


class LogDivergence(SourceModel):
    """A range of offsets at which Kafka's log is not the one that was stored; `next_offset` is not part of it.

    Up to `first_offset` the logs agree. In the range, an offset may mean a record of either log, so nothing is inferred
    from the absence of its row. The batches of `generation` and before it count the records of the log that is gone.
    """

    generation = models.PositiveIntegerField(help_text="The partition's chain of batches when it was seen.")
    first_offset = models.PositiveBigIntegerField(help_text="The logs agree up to here.")
    next_offset = models.PositiveBigIntegerField(help_text="No offset from here on had been used when it was resolved.")
    detail = models.TextField(help_text="How it was seen.")
    resolved_at = models.DateTimeField(null=True, blank=True, help_text="When an operator rewound the partition.")
    resumed_at = models.PositiveBigIntegerField(null=True, blank=True, help_text="The offset it was rewound to.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["topic", "partition"],
                condition=models.Q(resolved_at=None),
                name="log_divergence_one_unresolved",
            ),
            models.CheckConstraint(
                condition=models.Q(next_offset__gt=models.F("first_offset")), name="log_divergence_not_empty"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}: {self.first_offset} to {self.next_offset - 1}"
