"""The abstract base of models that refer to a place in the log."""

from django.db import models
from django.db.models.functions import Now


class SourceModel(models.Model):
    """A row about one partition of a topic, with its time. Subclasses add the offsets."""

    topic = models.CharField(max_length=249)
    partition = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True
