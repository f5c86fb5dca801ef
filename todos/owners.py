"""The owner of a todo: the primary key of the user who created it, as text. The edge takes it from the token's subject.

A todo that was created without a token has no owner, an empty text.
"""

from django.contrib.auth.models import User
from django.http import HttpRequest
from rest_framework.request import Request


def owner_of(user: User) -> str:
    """Return the owner of the todos that this user creates."""
    return str(user.pk)


def request_owner(request: Request | HttpRequest) -> str:
    """Return the owner whose todos the request may see; empty without a signed-in user, which the open mode allows."""
    return owner_of(request.user) if isinstance(request.user, User) else ""


def user_id_of(owner: str) -> int | None:
    """Return the primary key in an owner, or None if another issuer's subject or a foreign producer's text is there."""
    return int(owner) if owner.isascii() and owner.isdecimal() and len(owner) < 19 else None


def username_of(owner: str) -> str:
    """Return the name of the owner's user; empty if this database has no such user."""
    user_id = user_id_of(owner)
    if user_id is None:
        return ""
    return User.objects.filter(pk=user_id).values_list("username", flat=True).first() or ""
