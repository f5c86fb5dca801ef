"""Signing keys: created, rotated and retired. A private part is decrypted only to sign."""

import base64
import secrets
from datetime import timedelta
from typing import NamedTuple

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from edge_api.contract.tokens import Key
from todos.tokens.models import SigningKey

ADVISORY_LOCK = 0x746F6B656E  # serializes changes of the keys


class NoSigningKey(Exception):
    """Raised when there is no signing key, or DJANGO_SECRET_KEY does not decrypt it."""


class SigningKeyPair(NamedTuple):
    """The private key that signs, and the id that tokens name it by."""

    kid: str
    private: Ed25519PrivateKey


def signing_key_pair() -> SigningKeyPair:
    """Return the key that signs now. Raises NoSigningKey."""
    newest = SigningKey.objects.filter(retires_at=None).first()
    if newest is None:
        raise NoSigningKey("there is no signing key; create one with manage.py signing_keys rotate")
    try:
        private = Ed25519PrivateKey.from_private_bytes(_fernet().decrypt(newest.private.encode()))
    except InvalidToken:
        raise NoSigningKey(
            f"the key {newest} was encrypted with another DJANGO_SECRET_KEY;"
            " create a key with manage.py signing_keys rotate"
        ) from None
    return SigningKeyPair(newest.kid, private)


def known_keys() -> dict[str, Key]:
    """Return the public keys that verify tokens now, by their ids."""
    valid = SigningKey.objects.filter(Q(retires_at=None) | Q(retires_at__gt=timezone.now()))
    return {key.kid: _public(key) for key in valid}


def known_key(kid: str) -> Key | None:
    """Return the public key of an id, also a retired one, or None."""
    key = SigningKey.objects.filter(kid=kid).first()
    return _public(key) if key else None


def _public(key: SigningKey) -> Key:
    public = Ed25519PublicKey.from_public_bytes(bytes(key.public))
    return Key(public, key.retires_at.timestamp() if key.retires_at else float("inf"))


@transaction.atomic
def rotate(grace: timedelta) -> SigningKey:
    """Create the key that signs from now on. The others verify for `grace`, or until they retire if that is sooner."""
    _lock()
    end = timezone.now() + grace
    SigningKey.objects.filter(Q(retires_at=None) | Q(retires_at__gt=end)).update(retires_at=end)
    return _make()


@transaction.atomic
def make_first() -> SigningKey | None:
    """Create the first key, or return None if there is a key that signs."""
    _lock()
    try:
        signing_key_pair()
    except NoSigningKey:
        return _make()
    return None


@transaction.atomic
def retire(kid: str) -> None:
    """Retire a key at once: its tokens are no longer valid. Raises SigningKey.DoesNotExist."""
    _lock()
    key = SigningKey.objects.get(kid=kid)
    key.retires_at = timezone.now()
    key.save(update_fields=["retires_at"])


def _make() -> SigningKey:
    private = Ed25519PrivateKey.generate()
    return SigningKey.objects.create(
        kid=secrets.token_hex(8),  # a person types it, so it must not look like an option
        public=private.public_key().public_bytes_raw(),
        private=_fernet().encrypt(private.private_bytes_raw()).decode(),
    )


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])


def _fernet() -> Fernet:
    derived = HKDF(SHA256(), length=32, salt=None, info=b"todo signing keys").derive(settings.SECRET_KEY.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
