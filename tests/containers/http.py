"""Edge, API and Prometheus, asked over HTTP from outside the containers."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

from tests.containers.engine import Failed

T = TypeVar("T")


def call(url: str, body: bytes | None = None, token: str = "") -> dict[str, Any] | None:
    """The answer of a success; None else."""
    try:
        with urllib.request.urlopen(_request(url, body, token), timeout=10) as response:
            answer: dict[str, Any] = json.load(response)
    except OSError:
        return None
    return answer


def status(url: str, body: bytes | None = None, token: str = "", sent_for: str = "") -> int | None:
    """None where nothing answers. `sent_for`: as a proxy before HAProxy says it."""
    request = _request(url, body, token)
    if sent_for:
        request.add_header("X-Forwarded-For", sent_for)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as exc:
        return exc.code
    except OSError:
        return None


def _request(url: str, body: bytes | None, token: str) -> urllib.request.Request:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    return urllib.request.Request(url, body, headers)


def eventually(check: Callable[[], T | None], seconds: float, what: str) -> T:
    deadline = time.monotonic() + seconds
    while (value := check()) is None:
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds:.0f} s for {what}, in vain")
        time.sleep(0.2)
    return value
