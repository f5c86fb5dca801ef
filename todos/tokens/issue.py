"""Tokens: short ones for the services, and those that get the next short one without a password."""

import secrets
from collections.abc import Iterable
from datetime import timedelta
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID, uuid4

import jwt
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from edge_api.contract.tokens import ALGORITHM, AUDIENCE, ISSUER
from todos.owners import owner_of
from todos.tokens.keys import signer
from todos.tokens.models import RefreshToken

ACCESS_LIFETIME, REFRESH_LIFETIME = timedelta(minutes=10), timedelta(days=14)


class RefreshRefused(Exception):
    """Sign in again."""


class Pair(NamedTuple):
    access: str
    refresh: str


def access_token(user: User, scopes: Iterable[str], lifetime: timedelta = ACCESS_LIFETIME) -> str:
    """Raises NoKey."""
    key, now = signer(), timezone.now()
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": owner_of(user),
        "iat": now,
        "exp": now + lifetime,
        "jti": str(uuid4()),
        "scope": " ".join(sorted(scopes)),
    }
    return jwt.encode(claims, key.private, ALGORITHM, headers={"kid": key.kid})


def sign_in(user: User, scopes: Iterable[str]) -> Pair:
    """Whose password was checked. Raises NoKey."""
    user.refresh_tokens.filter(expires_at__lt=timezone.now()).delete()
    return _pair(user, " ".join(sorted(scopes)), uuid4())


def refresh(token: str) -> Pair:
    """Raises RefreshRefused, or NoKey."""
    with transaction.atomic():
        pair = _exchange(_digest(token))
    if pair is None:
        raise RefreshRefused
    return pair


def _exchange(digest: bytes) -> Pair | None:
    # One at a time of each user: or the end of a chain would miss the link that is being added to it.
    holder = User.objects.select_for_update(no_key=True, of=("self",)).filter(refresh_tokens__digest=digest).first()
    used = RefreshToken.objects.filter(digest=digest).first() if holder else None
    if holder is None or used is None:
        return None
    if used.used_at is None and _is_good(used, holder):
        used.used_at = timezone.now()
        used.save(update_fields=["used_at"])
        holder.refresh_tokens.filter(expires_at__lt=timezone.now()).delete()
        return _pair(holder, used.scope, used.chain)
    # Twice: somebody has copied it, and nobody can tell who of the two is who.
    RefreshToken.objects.filter(chain=used.chain).delete()
    return None


def _is_good(token: RefreshToken, user: User) -> bool:
    return user.is_active and token.expires_at > timezone.now() and token.session_hash == user.get_session_auth_hash()


def _pair(user: User, scope: str, chain: UUID) -> Pair:
    token = secrets.token_urlsafe(32)
    RefreshToken.objects.create(
        digest=_digest(token),
        user=user,
        chain=chain,
        scope=scope,
        session_hash=user.get_session_auth_hash(),
        expires_at=timezone.now() + REFRESH_LIFETIME,
    )
    return Pair(access_token(user, scope.split()), token)


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
