"""A wrong clock is named by its process."""

import os
import socket
from datetime import timedelta

import pytest
from django.utils import timezone

from todos.operations.clocks import wrong_clocks

pytestmark = pytest.mark.django_db


def test_the_callers_own_clock_is_named_by_its_host_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todos.operations.clocks.database_now", lambda: timezone.now() - timedelta(hours=1))
    (clock,) = wrong_clocks()
    assert (f"process {os.getpid()} on {socket.gethostname()}", "clock-ahead") == (clock.process, clock.code)
