"""An outage is one line when it begins and one when it ends."""

import logging

import pytest

from edge_api.shared import outages
from edge_api.shared.outages import Outage

LOG = logging.getLogger("test.outages")


@pytest.fixture
def outage(caplog: pytest.LogCaptureFixture) -> Outage:
    caplog.set_level(logging.INFO, LOG.name)
    return Outage(LOG, "down", "up")


def test_one_line_for_the_begin_and_one_for_the_end(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    outage.end()
    for _ in range(3):
        outage.begin("refused\nfor a reason")
    outage.end()
    outage.end()
    assert ["down: refused for a reason", "up"] == caplog.messages

    outage.begin("again")
    assert "down: again" == caplog.messages[-1]


def test_what_is_worse_is_news(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    outage.begin("busy")
    outage.begin("broken", logging.ERROR)
    outage.begin("busy")
    assert ["down: busy", "down: broken"] == caplog.messages


def test_an_outage_whose_end_went_unnoticed_is_forgotten(
    outage: Outage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage.begin("one")
    monkeypatch.setattr(outages, "FORGOTTEN_SECONDS", -1)
    outage.begin("another")
    assert ["down: one", "down: another"] == caplog.messages
