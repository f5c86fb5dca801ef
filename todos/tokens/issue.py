"""Issue tokens: access tokens for the services, and refresh tokens, which get the next pair without a password."""

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
from todos.tokens.keys import signing_key_pair
from todos.tokens.models import RefreshToken

ACCESS_LIFETIME, REFRESH_LIFETIME = timedelta(minutes=10), timedelta(days=14)


class RefreshRefused(Exception):
    """Raised for a refresh token that is unknown, used or expired: the user must sign in again."""


class TokenPair(NamedTuple):
    """An access token and the refresh token that gets the next pair."""

    access: str
    refresh: str


def access_token(user: User, scopes: Iterable[str], lifetime: timedelta = ACCESS_LIFETIME) -> str:
    """Return a signed token for the user. Raises NoSigningKey."""
    key, now = signing_key_pair(), timezone.now()
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": owner_of(user),
        "iat": now,
        "exp": now + lifetime,
        "jti": str(uuid4()),
        "scope": " ".join(sorted(scopes)),
        "credential": credential_of(user),
    }
    return jwt.encode(claims, key.private, ALGORITHM, headers={"kid": key.kid})


def credential_of(user: User) -> str:
    """Return what a token names the user's password by: another value for another password.

    It tells nothing of the password, because the stored hash has a random salt, and does not depend on
    DJANGO_SECRET_KEY, whose change must not end tokens.
    """
    return sha256(user.password.encode()).hexdigest()[:16]


def sign_in(user: User, scopes: Iterable[str]) -> TokenPair:
    """Return the first pair of a chain for a user whose password was checked. Raises NoSigningKey."""
    user.refresh_tokens.filter(expires_at__lt=timezone.now()).delete()
    return _pair(user, " ".join(sorted(scopes)), uuid4())


def refresh(token: str) -> TokenPair:
    """Return the next pair of the chain, and use up the refresh token. Raises RefreshRefused or NoSigningKey."""
    with transaction.atomic():
        pair = _exchange(_digest(token))
    if pair is None:
        raise RefreshRefused
    return pair


def _exchange(digest: bytes) -> TokenPair | None:
    # One exchange of a user at a time: else the end of a chain would miss a token that is being added to it.
    holder = User.objects.select_for_update(no_key=True, of=("self",)).filter(refresh_tokens__digest=digest).first()
    used = RefreshToken.objects.filter(digest=digest).first() if holder else None
    if holder is None or used is None:
        return None
    if used.used_at is None and _is_valid(used, holder):
        used.used_at = timezone.now()
        used.save(update_fields=["used_at"])
        holder.refresh_tokens.filter(expires_at__lt=timezone.now()).delete()
        return _pair(holder, used.scope, used.chain)
    # A second use: the token was copied, and the holder cannot be told from the thief. Both must sign in again.
    RefreshToken.objects.filter(chain=used.chain).delete()
    return None


def _is_valid(token: RefreshToken, user: User) -> bool:
    return user.is_active and token.expires_at > timezone.now() and token.session_hash == user.get_session_auth_hash()


def _pair(user: User, scope: str, chain: UUID) -> TokenPair:
    token = secrets.token_urlsafe(32)
    RefreshToken.objects.create(
        digest=_digest(token),
        user=user,
        chain=chain,
        scope=scope,
        session_hash=user.get_session_auth_hash(),
        expires_at=timezone.now() + REFRESH_LIFETIME,
    )
    return TokenPair(access_token(user, scope.split()), token)


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
