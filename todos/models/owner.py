"""Who a user is to tokens and todos."""

from uuid import uuid4

from django.conf import settings
from django.db import models


class Owner(models.Model):
    """The subject of a user's tokens and the owner of their todos.

    It is random and never assigned again. A primary key is: after a restore the sequence assigns the keys of users that
    the dump lacks to new users, while their tokens are still valid and their todos are still in Kafka.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="owner")
    subject = models.UUIDField(unique=True, default=uuid4, editable=False)
    former = models.PositiveBigIntegerField(
        null=True,
        unique=True,
        editable=False,
        help_text="The user's primary key, which was the owner before migration 0016. None for users created since.",
    )

    def __str__(self) -> str:
        return str(self.subject)
