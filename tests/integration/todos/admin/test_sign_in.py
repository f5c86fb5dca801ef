"""A client that guesses passwords is locked out; pages and cookies are hardened."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone

from tests.support.threads import in_threads
from todoproject.sign_in import SignInRefused, count_guess, hash_slot
from todos.clients import ClientThrottle, client_address
from todos.tokens.keys import make_first

pytestmark = pytest.mark.django_db
PASSWORD = "only for tests"
GUESSES = 12  # at once


@pytest.fixture
def operator() -> User:
    return User.objects.create_superuser("operator", password=PASSWORD)


def sign_in(password: str, name: str = "operator", address: str = "192.0.2.7") -> Any:
    return Client(REMOTE_ADDR=address).post(
        "/admin/login/?next=/admin/", {"username": name, "password": password, "next": "/admin/"}
    )


def get_token(password: str, name: str = "operator") -> Any:
    credentials = {"username": name, "password": password}
    return Client(REMOTE_ADDR="192.0.2.7").post("/api/token/", credentials, "application/json")


def test_after_five_wrong_passwords_the_right_one_has_to_wait(operator: User) -> None:
    statuses = [sign_in("wrong").status_code for _ in range(5)]
    refused = sign_in(PASSWORD)
    assert [200] * 5 == statuses
    assert 429 == refused.status_code
    assert 800 < int(refused["Retry-After"]) <= 900
    assert "try again in 15 minutes" in refused.content.decode()
    assert 429 == get_token(PASSWORD).status_code  # the admin and the API count together
    # Others are not held up, and neither is the user elsewhere.
    assert 302 == sign_in(PASSWORD, address="192.0.2.8").status_code
    assert 200 == sign_in("wrong", "somebody").status_code


def test_an_operator_can_be_let_in_at_once(operator: User) -> None:
    for _ in range(5):
        sign_in("wrong")
    assert 429 == sign_in(PASSWORD).status_code
    call_command("axes_reset_username", "operator", verbosity=0)
    assert 302 == sign_in(PASSWORD).status_code


@pytest.mark.parametrize(("attempt", "wrong", "right"), [("sign_in", 200, 302), ("get_token", 401, 200)])
def test_a_right_password_forgives_the_wrong_ones(operator: User, attempt: str, wrong: int, right: int) -> None:
    make_first()
    statuses = [globals()[attempt](password).status_code for password in (["wrong"] * 4 + [PASSWORD]) * 2]
    assert [wrong, wrong, wrong, wrong, right] * 2 == statuses


def test_the_limit_ends_after_the_wait(operator: User) -> None:
    for _ in range(5):
        sign_in("wrong")
    AccessAttempt.objects.update(attempt_time=timezone.now() - settings.AXES_COOLOFF_TIME)
    assert 200 == sign_in("wrong").status_code
    assert 1 == AccessAttempt.objects.get().failures_since_start


@pytest.mark.django_db(transaction=True)
def test_no_parallel_guess_escapes_the_limit() -> None:
    counted, refused, together = [], [], threading.Barrier(GUESSES)

    def guess() -> None:
        together.wait(60)
        try:
            count_guess("operator", "192.0.2.7")
            counted.append(1)
        except SignInRefused:
            refused.append(1)

    in_threads(*[guess] * GUESSES)
    assert (settings.AXES_FAILURE_LIMIT, GUESSES) == (len(counted), len(counted) + len(refused))


def test_a_guess_is_counted_before_it_is_judged(operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []

    def judge(*_: object, **__: object) -> None:
        counted.append(AccessAttempt.objects.get().failures_since_start)

    monkeypatch.setattr(ModelBackend, "authenticate", judge)
    for _ in range(settings.AXES_FAILURE_LIMIT + 1):
        sign_in("wrong")
    assert [1, 2, 3, 4, 5] == counted


def test_few_passwords_are_hashed_at_once_and_fewer_of_one_address(operator: User) -> None:
    with hash_slot("192.0.2.7"):
        assert 302 == sign_in(PASSWORD).status_code
    with hash_slot("192.0.2.7"), hash_slot("192.0.2.7"):
        refused = [sign_in(PASSWORD), get_token(PASSWORD)]
        assert 302 == sign_in(PASSWORD, address="192.0.2.8").status_code
        with hash_slot("192.0.2.9"):
            refused.append(sign_in(PASSWORD, address="192.0.2.8"))
    assert [(429, "1")] * 3 == [(response.status_code, response["Retry-After"]) for response in refused]
    assert "application/problem+json" == refused[1]["Content-Type"]
    assert not AccessAttempt.objects.exists()  # what is refused is no guess
    assert 302 == sign_in(PASSWORD).status_code


@pytest.mark.parametrize("name", ["x" * 256, "x" * 151, "o\0", "\u2028"])
def test_a_name_that_no_user_can_have_is_a_wrong_name(name: str) -> None:
    page = sign_in("wrong", name)
    assert 200 == page.status_code
    assert "errornote" in page.content.decode() or "Please enter a correct username" in page.content.decode()
    assert get_token("wrong", name).status_code in {400, 401}
    assert authenticate(RequestFactory().post("/"), username=name, password=PASSWORD) is None


@pytest.mark.parametrize(
    ("behind_proxy", "forwarded", "address"),
    [
        (False, "203.0.113.9", "192.0.2.7"),
        (True, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (True, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (True, "::ffff:203.0.113.9", "203.0.113.9"),
        (True, "nonsense", "192.0.2.7"),
        (True, "203.0.113.9, nonsense", "192.0.2.7"),
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
    monkeypatch.setattr(ClientThrottle, "THROTTLE_RATES", {"user": "3/minute"})
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


@pytest.mark.usefixtures("three_a_minute")
@pytest.mark.parametrize("invented", ["2001:db8:1:2::{}", "2001:db8:1:2::1, junk-{}"])
def test_no_forged_or_neighbouring_address_gets_a_limit_of_its_own(invented: str) -> None:
    with override_settings(BEHIND_PROXY=True):
        statuses = [
            Client(REMOTE_ADDR="192.0.2.9").get("/api/todos/", headers={"X-Forwarded-For": invented.format(n)})
            for n in range(4)
        ]
    assert [200, 200, 200, 429] == [response.status_code for response in statuses]
