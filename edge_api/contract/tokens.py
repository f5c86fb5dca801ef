"""The tokens that Django issues and both sides verify, without network: JWTs signed with Ed25519.

This module imports PyJWT, so the other parts of the contract do not import it.
"""

import json
import re
import time
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm

ISSUER = AUDIENCE = "todo"
ALGORITHM = "EdDSA"
READ, WRITE = "read", "write"
SCOPES = (READ, WRITE)
LEEWAY_SECONDS = 5  # for clocks that differ
MAX_TOKEN_BYTES = 4_096
_KID = re.compile(r"[!-~]{1,64}")
_SUBJECT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class InvalidToken(Exception):
    """The message says why the token is invalid, and contains nothing of it."""


class Token(NamedTuple):
    """The claims of a verified token: `owner` is its subject, a UUID; `until` the Unix time when it expires.

    `credential` changes with the user's password, which only Django can compare; empty in tokens without that claim.
    """

    owner: str
    scopes: frozenset[str]
    until: float
    credential: str = ""


class Key(NamedTuple):
    """A public key; `until` is the Unix time after which a replaced key verifies no more tokens."""

    public: Ed25519PublicKey
    until: float = float("inf")


def kid_of(token: str) -> str:
    """Return the id of the key that the token names, without verifying anything. Raises InvalidToken."""
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"is longer than {MAX_TOKEN_BYTES:,} bytes")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise InvalidToken("is not a JWT") from None
    kid = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise InvalidToken(f"is not signed with {ALGORITHM} and a named key")
    return kid


def verify(token: str, key: Key | None) -> Token:
    """Verify a token with the key of its `kid_of`, or None if that is unknown. Raises InvalidToken."""
    if key is None or key.until <= time.time():
        raise InvalidToken("is signed with a key that is unknown or retired")
    try:
        claims = jwt.decode(
            token,
            key.public,
            algorithms=[ALGORITHM],  # never the algorithm that the token names
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "sub", "exp", "iat"], "strict_aud": True},
        )
    except jwt.ExpiredSignatureError:
        raise InvalidToken("has expired") from None
    except jwt.InvalidTokenError as exc:
        raise InvalidToken(f"is not valid: {_REASONS.get(type(exc), 'its signature or a claim is wrong')}") from None
    owner, scope, credential = claims["sub"], claims.get("scope", ""), claims.get("credential", "")
    if not _SUBJECT.fullmatch(owner):  # once it was a number, which a restore may assign to another user
        raise InvalidToken("is not valid: its subject is not a UUID; get a new token")
    for name, claim in (("scope", scope), ("credential", credential)):
        if not isinstance(claim, str):
            raise InvalidToken(f"is not valid: its {name} is malformed")
    return Token(owner, frozenset(scope.split()), min(float(claims["exp"]) + LEEWAY_SECONDS, key.until), credential)


_REASONS: dict[type[Exception], str] = {
    jwt.InvalidAudienceError: "its audience is another service",
    jwt.InvalidIssuerError: "its issuer is another service",
    jwt.ImmatureSignatureError: "it was issued in the future",
    jwt.MissingRequiredClaimError: "a claim is missing",
}


def read_jwks(document: bytes) -> dict[str, Key]:
    """Return the Ed25519 keys of a JWKS by their ids, without keys of other kinds. Raises ValueError."""
    found = json.loads(document)
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise ValueError("is not a JWKS")  # noqa: TRY004 - the content is wrong, not a type in the code
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
        raise ValueError("contains a key that cannot be read") from exc
    assert isinstance(public, Ed25519PublicKey)  # noqa: S101 - for mypy: there was no private part
    return Key(public, until)


def as_jwk(kid: str, key: Key) -> dict[str, Any]:
    """Return a public key as JWK; by `exp`, verifiers drop a replaced key in time even if they cannot reload."""
    public: dict[str, Any] = OKPAlgorithm.to_jwk(key.public, as_dict=True)
    until = {} if key.until == float("inf") else {"exp": int(key.until)}
    return {**public, "kid": kid, "use": "sig", "alg": ALGORITHM, **until}
