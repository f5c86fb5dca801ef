"""The keys that sign tokens, and the refresh tokens that are still valid."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class SigningKey(models.Model):
    """A key pair. The newest one that is not retired signs; a retired one verifies until its grace is over."""

    kid = models.CharField(primary_key=True, max_length=64)
    public = models.BinaryField(help_text="32 bytes.")
    private = models.TextField(help_text="Encrypted with a key that is derived from DJANGO_SECRET_KEY.")
    created_at = models.DateTimeField(db_default=Now())
    retires_at = models.DateTimeField(null=True, blank=True, help_text="The end of its grace; empty while it signs.")

    class Meta:
        ordering = ["-created_at", "kid"]

    def __str__(self) -> str:
        return self.kid


class RefreshToken(models.Model):
    """A token of a chain that began with a sign-in. It can be used once; a second use ends the chain.

    Only the hash is stored, so that read access to the database is not enough to sign in.
    """

    digest = models.BinaryField(unique=True, help_text="SHA-256.")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="refresh_tokens")
    chain = models.UUIDField(db_index=True)
    scope = models.CharField(max_length=64)
    session_hash = models.CharField(max_length=64, help_text="Another one when the password is changed.")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.user_id}, until {self.expires_at}"
