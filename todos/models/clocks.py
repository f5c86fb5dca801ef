"""Clocks that differ from the database's."""

from django.db import models


class ClockSkew(models.Model):
    """A process whose clock differs from the database's, as it measured itself; no row for a clock that is right."""

    process = models.CharField(max_length=255, primary_key=True)
    ahead_seconds = models.FloatField()  # negative: behind
    since = models.DateTimeField()
    measured_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.process}: {self.ahead_seconds:+.0f} s"
