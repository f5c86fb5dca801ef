"""Records that could not be stored, and what operators did about them."""

from django.db import models
from django.db.models.functions import Now

from todos.models.source import SourceModel


class DeadLetter(SourceModel):
    """A record that can never become a todo, with everything that is needed to judge it and to send it again."""

    class Reason(models.TextChoices):
        EMPTY = "empty", "no value"
        INVALID = "invalid", "not a valid TodoCreated event"
        REJECTED = "rejected", "refused by the database"
        UNDECODABLE = "undecodable", "not a record in Kafka's format"
        CONFLICT = "conflict", "another content came first under its Idempotency-Key"
        SET_ASIDE = "set_aside", "set aside by an operator: it needs a newer worker"

    class Status(models.TextChoices):
        OPEN = "open", "open"
        REDRIVEN = "redriven", "redriven"
        DISCARDED = "discarded", "discarded"
        ERASED = "erased", "erased with its owner"

    offset = models.PositiveBigIntegerField()
    reason = models.CharField(max_length=32, choices=Reason)
    detail = models.TextField(help_text="Each field at fault and why.")
    key = models.BinaryField(null=True)
    value = models.BinaryField(null=True)
    headers = models.JSONField(default=list, help_text="Pairs of name (Python's unicode_escape) and value (base64).")
    timestamp_ms = models.BigIntegerField(null=True, help_text="The record's time, milliseconds since 1970.")
    # The database has these defaults too, because workers of the version before this one still store dead letters.
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


class DeadLetterTotal(models.Model):
    """How many dead letters of one reason a partition has ever had.

    A trigger of the database adds each insert to it, in the transaction of the insert. That transaction holds the
    partition's row of the ledger, so no other one waits for these rows.
    """

    topic = models.CharField(max_length=249)
    partition = models.PositiveIntegerField()
    reason = models.CharField(max_length=32)
    letters = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["topic", "partition", "reason"], name="dead_letter_total_once_per_reason")
        ]

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}: {self.letters} {self.reason}"


class DeadLetterEvent(models.Model):
    """One action of an operator on a dead letter. Rows are only added; an erasure of the owner empties their notes."""

    class Action(models.TextChoices):
        EDITED = "edited"
        REDRIVEN = "redriven"
        DISCARDED = "discarded"
        REOPENED = "reopened"
        ERASED = "erased"

    letter = models.ForeignKey(DeadLetter, on_delete=models.PROTECT, related_name="events")
    action = models.CharField(max_length=16, choices=Action)
    actor = models.CharField(max_length=150, help_text="A user's name, or manage.py.")
    note = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"
