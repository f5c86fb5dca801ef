"""What happened at a place in the log."""

from django.db import models
from django.db.models.functions import Now


class SourceModel(models.Model):
    """A topic's partition, and when it happened; the offsets are the subclass' own."""

    topic = models.CharField(max_length=249)
    partition = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True
