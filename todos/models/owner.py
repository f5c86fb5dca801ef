"""Who a user is to tokens and todos, and which owners were erased."""

from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


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


class ErasedOwner(models.Model):
    """An owner that was erased: the ingest skips their records for as long as Kafka may hold any.

    `id` is the owner, as far as that is a UUID, and else a UUID derived from its text (`todos.owners.erasure_id`).
    """

    id = models.UUIDField(primary_key=True)
    erased_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, help_text="Empty while rows of the owner may be left.")
    deletes_user = models.BooleanField(default=False, db_default=False, help_text="The user is deleted at the end.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", help_text="Empty when it is finished."
    )

    class Meta:
        ordering = ["erased_at", "id"]
        permissions = [("erase_owner", "Can erase an owner")]

    def __str__(self) -> str:
        return str(self.id)
