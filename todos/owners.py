"""What an owner is: the subject of the tokens that create a todo."""

from django.contrib.auth.models import User
from django.http import HttpRequest
from rest_framework.request import Request


def owner_of(user: User) -> str:
    """Return the owner of the todos that this user creates."""
    return str(user.pk)


def request_owner(request: Request | HttpRequest) -> str:
    """Return the owner whose todos the request may see; empty without a signed-in user, which the open mode allows."""
    return owner_of(request.user) if isinstance(request.user, User) else ""
