"""Make keys and tokens of every kind, also those that must be refused."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge_api.contract.tokens import Key, as_jwk

OWNER = "7b0c6a52-3f0e-4d0b-9a53-0a3c3c1f6a11"  # a subject, where it does not matter whose
PASSWORD = "correct horse battery"  # of each user who has one in a test


class Signer:
    """A key pair of its own, and the document that makes it known."""

    def __init__(self, kid: str = "one", private: Ed25519PrivateKey | None = None) -> None:
        self.kid, self.private = kid, private or Ed25519PrivateKey.generate()

    def jwks(self, *others: "Signer", until: float = float("inf")) -> bytes:
        keys = [(signer.kid, Key(signer.private.public_key(), until)) for signer in (self, *others)]
        return json.dumps({"keys": [as_jwk(kid, key) for kid, key in keys]}).encode()

    def token(self, owner: str = OWNER, **changes: Any) -> str:
        """A good one, but for the `changes` of its claims; None leaves a claim out."""
        return jwt.encode(claims(owner, **changes), self.private, "EdDSA", headers={"kid": self.kid})

    def confused(self, owner: str = OWNER) -> list[str]:
        """Tokens signed by HS256 with the public key, which everyone knows, as the secret."""
        public = self.private.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        x = as_jwk(self.kid, Key(public))["x"].encode()
        return [_hs256(self.kid, claims(owner), secret) for secret in (pem, public.public_bytes_raw(), x)]

    def unsigned(self, owner: str = OWNER) -> str:
        return f"{_part({'alg': 'none', 'typ': 'JWT', 'kid': self.kid})}.{_part(claims(owner))}."


def claims(owner: str = OWNER, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": "todo", "aud": "todo", "sub": owner, "iat": now, "exp": now + 600, "scope": "read write"}
    return {name: value for name, value in (good | changes).items() if value is not None}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _hs256(kid: str, content: dict[str, Any], secret: bytes) -> str:
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{_part(content)}"
    return f"{signed}.{_text(hmac.digest(secret, signed.encode(), sha256))}"


def _part(content: dict[str, Any]) -> str:
    return _text(json.dumps(content).encode())


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
