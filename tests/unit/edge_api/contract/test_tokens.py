"""Which tokens are valid, for the edge and for Django alike."""

import json
import time
from typing import Any
from uuid import uuid4

import pytest

from edge_api.contract.tokens import InvalidToken, Token, kid_of, read_jwks, verify
from tests.support.tokens import OWNER, Signer

NOW = int(time.time())
SIGNER = Signer()


def verdict(token: str, signer: Signer = SIGNER, until: float = float("inf")) -> Token | str:
    """The token, or why not."""
    try:
        return verify(token, read_jwks(signer.jwks(until=until)).get(kid_of(token)))
    except InvalidToken as exc:
        return str(exc)


def test_a_good_token_tells_owner_scopes_and_end() -> None:
    now = int(time.time())
    token = SIGNER.token(OWNER, scope="read write", exp=now + 60)
    assert Token(OWNER, frozenset({"read", "write"}), now + 65) == verdict(token)
    assert Token(OWNER, frozenset(), now + 65) == verdict(SIGNER.token(scope=None, exp=now + 60))
    assert Token(OWNER, frozenset({"read"}), now + 20) == verdict(SIGNER.token(scope="read"), until=now + 20)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": NOW - 60}, "has expired"),
        ({"aud": "others"}, "is not valid: its audience is another service"),
        ({"aud": ["todo", "others"]}, "is not valid: its audience is another service"),
        ({"iss": "others"}, "is not valid: its issuer is another service"),
        ({"iat": NOW + 86_400, "exp": NOW + 90_000}, "is not valid: it was issued in the future"),
        *(({name: None}, "is not valid: a claim is missing") for name in ("iss", "aud", "sub", "exp", "iat")),
        ({"exp": "soon"}, "is not valid: its signature or a claim is wrong"),
        *(
            ({"sub": sub}, "is not valid: its subject is not a UUID; get a new token")
            for sub in ("", "7", "olga", OWNER.upper(), f"{OWNER}\n", OWNER.replace("-", ""), "\0" * 36)
        ),
        ({"sub": 7}, "is not valid: its signature or a claim is wrong"),
        ({"scope": ["write"]}, "is not valid: its scope is malformed"),
        ({"credential": 1}, "is not valid: its credential is malformed"),
    ],
)
def test_each_claim_counts(changes: dict[str, Any], why: str) -> None:
    assert why == verdict(SIGNER.token(**changes))


def test_nobody_else_can_sign() -> None:
    wrong = [*SIGNER.confused(), SIGNER.unsigned()]
    assert {"is not signed with EdDSA and a named key"} == {verdict(token) for token in wrong}
    assert "is not valid: its signature or a claim is wrong" == verdict(Signer().token())
    assert "is signed with a key that is unknown or retired" == verdict(Signer("two").token())
    assert "is signed with a key that is unknown or retired" == verdict(SIGNER.token(), until=NOW - 1)
    head, body, signature = SIGNER.token().split(".")
    assert "is not valid: its signature or a claim is wrong" == verdict(
        f"{head}.{body}.{SIGNER.token(str(uuid4())).split('.')[2]}"
    )
    assert "is not valid: its signature or a claim is wrong" == verdict(
        f"{head}.{SIGNER.token(str(uuid4())).split('.')[1]}.{signature}"
    )


@pytest.mark.parametrize("kid", ["", "\ud800", "a\0", "a b", "k" * 65])
def test_no_key_is_looked_up_by_a_strange_name(kid: str) -> None:
    with pytest.raises(InvalidToken, match="named key"):
        kid_of(Signer(kid).token())


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "....", "\u00e9.a.b", "x" * 4097, "e30.e30.e30"])
def test_what_is_no_token_is_invalid_and_nothing_else(token: str) -> None:
    assert isinstance(verdict(token), str)


def test_other_keys_of_a_document_are_left_out_and_a_broken_one_is_refused() -> None:
    own = json.loads(SIGNER.jwks())["keys"]
    others = [{"kty": "RSA", "kid": "r"}, {"kty": "OKP", "crv": "X25519", "kid": "x"}, {"kty": "OKP"}, 7]
    assert {"one"} == set(read_jwks(json.dumps({"keys": [*others, *own]}).encode()))
    for document in (b"", b"[]", b"{}", b'{"keys": 7}', b"\xff", json.dumps({"keys": [own[0] | {"x": "?"}]}).encode()):
        with pytest.raises(ValueError):
            read_jwks(document)
