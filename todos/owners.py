"""The owner of a todo: the random subject of the user who created it. The edge takes it from the token's subject.

A todo that was created without a token has no owner, an empty text. An owner that no user has, such as that of a user
whom a restore lost, stays as it is: no other user can ever get it.
"""

import re
from collections.abc import Iterable
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from django.contrib.auth.models import User
from django.db import connection
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest
from rest_framework.request import Request

from todos.models import ErasedOwner, Owner

BIGINT_DIGITS = 19
UUID_TEXT = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def owner_of(user: User) -> str:
    """Return the owner of the todos that this user creates."""
    try:
        return str(user.owner.subject)
    except Owner.DoesNotExist:  # created by bulk_create, or by a release without owners
        return str(Owner.objects.get_or_create(user=user)[0].subject)


@receiver(post_save, sender=User)
def create_owner(instance: User, created: bool, **_: Any) -> None:
    """Create the owner together with the user, so that a dump that has one has the other too."""
    if created:
        Owner.objects.get_or_create(user=instance)


def request_owner(request: Request | HttpRequest) -> str:
    """Return the owner whose todos the request may see; empty without a signed-in user, which the open mode allows."""
    return owner_of(request.user) if isinstance(request.user, User) else ""


def user_of(owner: str) -> User | None:
    """Return the owner's user, or None if this database has no such user."""
    if not UUID_TEXT.fullmatch(owner):  # a foreign producer's text, which may be another spelling of a UUID
        return None
    return User.objects.select_related("owner").filter(owner__subject=owner).first()


def username_of(owner: str) -> str:
    """Return the name of the owner's user; empty if this database has no such user."""
    user = user_of(owner)
    return user.get_username() if user else ""


def present_owners(owners: Iterable[str]) -> dict[str, str]:
    """Return today's owner of each that is a user's former one: records from before migration 0016 name those."""
    former = {int(owner) for owner in owners if owner.isascii() and owner.isdecimal() and len(owner) < BIGINT_DIGITS}
    if not former:
        return {}
    found = Owner.objects.filter(former__in=former).values_list("former", "subject")
    return {str(number): str(subject) for number, subject in found}


def erasure_id(owner: str) -> str:
    """Return the id under which the erasure of an owner is remembered: its own UUID, or a hash of any other text."""
    return owner if UUID_TEXT.fullmatch(owner) else str(uuid5(NAMESPACE_URL, f"owner:{owner!a}"))


def erased_among(owners: Iterable[str]) -> set[str]:
    """Return those of the owners that were erased. It does not even iterate while none was."""
    if not ErasedOwner.objects.exists():
        return set()
    by_id = {erasure_id(owner): owner for owner in {*owners} - {""}}
    with connection.cursor() as cursor:  # Django's id__in takes several times as long
        cursor.execute("SELECT id::text FROM todos_erasedowner WHERE id = ANY(%s::uuid[])", [[*by_id]])
        return {by_id[id_] for (id_,) in cursor.fetchall()}
