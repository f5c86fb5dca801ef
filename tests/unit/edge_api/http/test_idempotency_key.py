"""A key that cannot be one is refused: passed over, it would let a replay make a second todo."""

from collections.abc import Callable

import httpx
import pytest

PASSED_VALIDATION = 503  # the edge under test has no Kafka behind it
JSON = ("Content-Type", "application/json")
CONTENT = {"/new/": b'{"title": "x"}', "/new/batch/": b'[{"title": "x"}]'}
Post = Callable[..., httpx.Response]


@pytest.mark.parametrize("path", CONTENT)
@pytest.mark.parametrize("key", [b"a", b"!~", b"k" * 255, b'"8e03978e-40d5-43dd-bc93-6894a57f9324"'])
def test_visible_ascii_is_a_key(post: Post, path: str, key: bytes) -> None:
    headers = [JSON, (b"Idempotency-Key", key)]
    assert PASSED_VALIDATION == post(CONTENT[path], headers, path=path).status_code


@pytest.mark.parametrize("path", CONTENT)
@pytest.mark.parametrize("keys", [[b""], [b"k" * 256], [b"a b"], [b"\xe4"], [b"\x7f"], [b"a", b"a"], [b"a", b"b"]])
def test_what_is_no_key_is_refused(post: Post, path: str, keys: list[bytes]) -> None:
    response = post(CONTENT[path], [JSON, *((b"Idempotency-Key", key) for key in keys)], path=path)
    assert 400 == response.status_code
    assert "application/problem+json" == response.headers["content-type"]
    assert ["Idempotency-Key"] == [error["field"] for error in response.json()["errors"]]
