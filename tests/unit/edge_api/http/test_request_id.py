"""Each answer carries the id of its request: the client's own, if it is a sensible one."""

from collections.abc import Callable

import httpx
import pytest

JSON = {"Content-Type": "application/json"}
Post = Callable[..., httpx.Response]


@pytest.mark.parametrize("path", ["/new/", "/new/batch/"])
@pytest.mark.parametrize("body", [b"x", b'{"title": ""}', b'[{"title": "a"}]', b'{"title": "fine"}'])
def test_a_refusal_carries_the_client_s_id(post: Post, path: str, body: bytes) -> None:
    response = post(body, JSON | {"X-Request-ID": "client-7"}, path)

    assert response.status_code >= 400
    assert "client-7" == response.headers["x-request-id"]


@pytest.mark.parametrize("sent", ["a b", "x" * 129, "", "\x7f"])
def test_a_senseless_id_is_replaced(post: Post, sent: str) -> None:
    response = post(b"x", JSON | {"X-Request-ID": sent})

    assert 36 == len(response.headers["x-request-id"])
