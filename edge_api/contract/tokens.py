"""The tokens that Django issues, and what makes one valid: both sides verify with this, and need no network for it.

A JWT signed with Ed25519. Imports PyJWT, so the contract's other parts do not import this one.
"""

import json
import re
import time
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm

from edge_api.contract.events import OWNER_MAX

ISSUER = AUDIENCE = "todo"
ALGORITHM = "EdDSA"
READ, WRITE = "read", "write"
SCOPES = (READ, WRITE)
LEEWAY_SECONDS = 5  # no two clocks agree
MAX_TOKEN_BYTES = 4_096
_KID = re.compile(r"[!-~]{1,64}")


class InvalidToken(Exception):
    """The message says why, and holds nothing of the token."""


class Token(NamedTuple):
    """`owner` is the subject, `until` in Unix time."""

    owner: str
    scopes: frozenset[str]
    until: float


class Key(NamedTuple):
    """`until` is the end of its grace, in Unix time, when another key has taken its place."""

    public: Ed25519PublicKey
    until: float = float("inf")


def kid_of(token: str) -> str:
    """The id of the key that is said to have signed it. Nothing is verified yet. Raises InvalidToken."""
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"is longer than {MAX_TOKEN_BYTES:,} bytes")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise InvalidToken("is no JWT") from None
    kid = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise InvalidToken(f"is not signed with {ALGORITHM} and a named key")
    return kid


def verify(token: str, key: Key | None) -> Token:
    """`key` is what is known by its `kid_of`. Raises InvalidToken."""
    if key is None or key.until <= time.time():
        raise InvalidToken("is signed with a key that is unknown or retired")
    try:
        claims = jwt.decode(
            token,
            key.public,
            algorithms=[ALGORITHM],  # never what the token itself asks for
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "sub", "exp", "iat"], "strict_aud": True},
        )
    except jwt.ExpiredSignatureError:
        raise InvalidToken("has expired") from None
    except jwt.InvalidTokenError as exc:
        raise InvalidToken(f"is not valid: {_REASONS.get(type(exc), 'it is not signed by us')}") from None
    owner, scope = claims["sub"], claims.get("scope", "")
    if not isinstance(scope, str) or not 0 < len(owner) <= OWNER_MAX or "\0" in owner:
        raise InvalidToken("is not valid: its subject or scope is none of ours")
    return Token(owner, frozenset(scope.split()), min(float(claims["exp"]) + LEEWAY_SECONDS, key.until))


_REASONS: dict[type[Exception], str] = {
    jwt.InvalidAudienceError: "it is meant for others",
    jwt.InvalidIssuerError: "it comes from others",
    jwt.ImmatureSignatureError: "it is from the future",
    jwt.MissingRequiredClaimError: "a claim is missing",
}


def read_jwks(document: bytes) -> dict[str, Key]:
    """The keys by their ids; keys of other kinds are left out. Raises ValueError."""
    found = json.loads(document)
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise ValueError("is no JWKS")  # noqa: TRY004 - whatever is wrong with it
    return {jwk["kid"]: _key(jwk) for jwk in found["keys"] if _is_ours(jwk)}


def _is_ours(jwk: Any) -> bool:
    return (
        isinstance(jwk, dict)
        and isinstance(jwk.get("kid"), str)
        and {"kty": "OKP", "crv": "Ed25519"}.items() <= jwk.items()
        and jwk.get("use", "sig") == "sig"
    )


def _key(jwk: dict[str, Any]) -> Key:
    try:
        public = OKPAlgorithm.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": jwk["x"]})
        until = float(jwk.get("exp", "inf"))
    except (jwt.InvalidKeyError, KeyError, TypeError) as exc:
        raise ValueError("holds a key that cannot be read") from exc
    assert isinstance(public, Ed25519PublicKey)  # noqa: S101 - for mypy: there was no private part
    return Key(public, until)


def as_jwk(kid: str, key: Key) -> dict[str, Any]:
    """`exp` lets verifiers that cannot ask again forget the key in time."""
    public: dict[str, Any] = OKPAlgorithm.to_jwk(key.public, as_dict=True)
    until = {} if key.until == float("inf") else {"exp": int(key.until)}
    return {**public, "kid": kid, "use": "sig", "alg": ALGORITHM, **until}
