"""Sign in with a password. Each guess is counted before it is judged, so that no parallel guess escapes the limit.

The counts are rows of django-axes, with its commands. Its own counting, after the judgement, is off (AXES_ENABLED).
"""

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.utils import timezone

from todos.api.problems import problem
from todos.clients import client_address

logger = logging.getLogger(__name__)

# Passwords hashed at once in this process: each takes a processor for a good part of a second, by design.
MAX_HASHES, MAX_HASHES_OF_ADDRESS = 3, 2
BUSY_SECONDS = 1
MAX_USERNAME = User._meta.get_field("username").max_length or 0
FORGOTTEN_AT_ONCE = 100  # rows

_hashing: list[str] = []  # an address for each
_lock = threading.Lock()  # of the list


class SignInRefused(Exception):
    """Raised for a password that is not judged now; the client may try again after `seconds`."""

    def __init__(self, detail: str, seconds: int) -> None:
        super().__init__(detail)
        self.detail, self.seconds = detail, seconds


class PasswordBackend(ModelBackend):
    """Authenticates users of the admin and of the API, a few at a time, within the limit on wrong passwords."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        """Return the user, or None for a wrong name or password. Raises SignInRefused."""
        if request is None or username is None or password is None or not is_possible(username):
            return None
        address = client_address(request)
        with hash_slot(address):
            count_guess(username, address)
            user = super().authenticate(request, username, password, **kwargs)
        if isinstance(user, User):
            AccessAttempt.objects.filter(username=username, ip_address=address).delete()
            return user
        logger.warning("wrong name or password: %s from %s", username, address)
        return None


def is_possible(username: str) -> bool:
    """Return whether a user may have this name; another one cannot be stored, not even as a guess."""
    return len(username) <= MAX_USERNAME and "\0" not in username


@contextmanager
def hash_slot(address: str) -> Iterator[None]:
    """Hold one of the slots for hashing. One address leaves a slot to the others. Raises SignInRefused."""
    with _lock:
        if len(_hashing) >= MAX_HASHES or _hashing.count(address) >= MAX_HASHES_OF_ADDRESS:
            raise SignInRefused(f"Too many users sign in at once; try again in {BUSY_SECONDS} second.", BUSY_SECONDS)
        _hashing.append(address)
    try:
        yield
    finally:
        with _lock:
            _hashing.remove(address)


def count_guess(username: str, address: str) -> None:
    """Count a guess. Raises SignInRefused if AXES_FAILURE_LIMIT guesses are counted; a right one deletes the count."""
    now = timezone.now()
    expired = now - settings.AXES_COOLOFF_TIME
    _forget_guesses(expired)
    with transaction.atomic():
        guesses, _ = AccessAttempt.objects.select_for_update().get_or_create(
            username=username, ip_address=address, user_agent="", defaults={"failures_since_start": 0}
        )
        if guesses.attempt_time <= expired:
            guesses.failures_since_start = 0
        if guesses.failures_since_start >= settings.AXES_FAILURE_LIMIT:
            raise _locked_out(math.ceil((guesses.attempt_time - expired).total_seconds()))
        guesses.failures_since_start += 1
        guesses.attempt_time = now
        guesses.save(update_fields=["failures_since_start", "attempt_time"])


def _locked_out(seconds: int) -> SignInRefused:
    minutes = math.ceil(seconds / 60)
    detail = f"Too many sign-ins as this user failed from your address; try again in {minutes} minutes."
    return SignInRefused(detail, seconds)


@transaction.atomic
def _forget_guesses(until: datetime) -> None:
    """Delete old rows that no other request has locked, so that two requests cannot wait for each other."""
    old = AccessAttempt.objects.filter(attempt_time__lte=until).select_for_update(skip_locked=True)
    if rows := list(old.order_by().values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE]):
        AccessAttempt.objects.filter(pk__in=rows).delete()


class RefusedSignIns:
    """Middleware that answers 429 with Retry-After for SignInRefused."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = self.get_response(request)
        return response

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        if not isinstance(exc, SignInRefused):
            return None
        status, headers = HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(exc.seconds)}
        if request.path.startswith("/api/token/"):
            return problem(status, exc.detail, headers=headers)
        page = render_to_string("sign_in_refused.html", {"detail": exc.detail})
        return HttpResponse(page, status=status, headers=headers)
