"""A client that guesses passwords is locked out; pages and cookies are hardened."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client, RequestFactory, override_settings
from rest_framework.throttling import UserRateThrottle

from todoproject.sign_in import client_address

pytestmark = pytest.mark.django_db
PASSWORD = "only for tests"


@pytest.fixture
def operator() -> User:
    return User.objects.create_superuser("operator", password=PASSWORD)


def sign_in(password: str, name: str = "operator", address: str = "192.0.2.7") -> Any:
    return Client(REMOTE_ADDR=address).post(
        "/admin/login/?next=/admin/", {"username": name, "password": password, "next": "/admin/"}
    )


def test_after_five_wrong_passwords_the_right_one_has_to_wait(operator: User) -> None:
    statuses = [sign_in("wrong").status_code for _ in range(5)]
    refused = sign_in(PASSWORD)
    assert [200, 200, 200, 200, 429] == statuses
    assert 429 == refused.status_code
    assert "900" == refused["Retry-After"]
    assert "Try again in 15 minutes" in refused.content.decode()
    # Others are not held up, and neither is the user elsewhere.
    assert 302 == sign_in(PASSWORD, address="192.0.2.8").status_code
    assert 200 == sign_in("wrong", "somebody").status_code


def test_an_operator_can_be_let_in_at_once(operator: User) -> None:
    for _ in range(5):
        sign_in("wrong")
    assert 429 == sign_in(PASSWORD).status_code
    call_command("axes_reset_username", "operator", verbosity=0)
    assert 302 == sign_in(PASSWORD).status_code


def test_a_right_password_forgives_the_wrong_ones(operator: User) -> None:
    statuses = [sign_in(password).status_code for password in (["wrong"] * 4 + [PASSWORD]) * 2]
    assert [200, 200, 200, 200, 302] * 2 == statuses


@pytest.mark.parametrize(
    ("behind_proxy", "forwarded", "address"),
    [
        (False, "203.0.113.9", "192.0.2.7"),
        (True, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (True, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (True, "::ffff:203.0.113.9", "203.0.113.9"),
        (True, "nonsense", "192.0.2.7"),
        (True, "", "192.0.2.7"),
    ],
)
def test_only_what_the_proxy_saw_counts(behind_proxy: bool, forwarded: str, address: str) -> None:
    request = RequestFactory(REMOTE_ADDR="192.0.2.7").get("/", headers={"X-Forwarded-For": forwarded})
    with override_settings(BEHIND_PROXY=behind_proxy):
        assert address == client_address(request)


@pytest.mark.parametrize("path", ["/admin/login/", "/api/todos/", "/healthz"])
def test_headers_forbid_what_no_page_needs(path: str) -> None:
    headers = Client().get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "http" not in policy
    assert "nosniff" == headers["X-Content-Type-Options"]
    assert "DENY" == headers["X-Frame-Options"]
    assert "same-origin" == headers["Referrer-Policy"]
    assert "same-origin" == headers["Cross-Origin-Opener-Policy"]
    assert "camera=()" in headers["Permissions-Policy"]


def test_scripts_cannot_read_cookies(operator: User) -> None:
    cookies = sign_in(PASSWORD).cookies
    assert {"sessionid": ("Lax", True), "csrftoken": ("Strict", True)} == {
        name: (morsel["samesite"], morsel["httponly"]) for name, morsel in cookies.items()
    }


@pytest.fixture
def three_a_minute(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(UserRateThrottle, "THROTTLE_RATES", {"user": "3/minute"})
    yield
    cache.clear()


@pytest.mark.usefixtures("three_a_minute")
def test_the_api_limits_requests_of_an_address() -> None:
    statuses = [Client(REMOTE_ADDR="192.0.2.7").get("/api/todos/").status_code for _ in range(4)]
    refused = Client(REMOTE_ADDR="192.0.2.7").get("/api/todos/", headers={"X-Forwarded-For": "203.0.113.9"})
    assert [200, 200, 200, 429] == statuses
    assert 429 == refused.status_code
    assert 0 < int(refused["Retry-After"]) <= 60
    assert 200 == Client(REMOTE_ADDR="192.0.2.8").get("/api/todos/").status_code
