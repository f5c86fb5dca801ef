"""Offsets are published in the background: nothing waits for the group's coordinator, and no failure is final."""

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from tests.support.waiting import eventually
from todos.kafka import offset_publisher
from todos.kafka.offset_publisher import OffsetPublisher

SECONDS = 10.0  # until a test gives up


@dataclass
class FakeGroup:
    """A coordinator that keeps offsets, refuses partitions, or does not answer while `answers` is clear."""

    offsets: dict[int, int] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    error: Exception | None = None
    answers: threading.Event = field(default_factory=threading.Event)
    calls: int = 0
    connects: int = 0
    is_connected: bool = False

    def __post_init__(self) -> None:
        self.answers.set()

    def commit_offsets(self, offsets: Mapping[int, int]) -> Mapping[int, str]:
        self.calls += 1
        assert self.answers.wait(SECONDS)
        self.connects += not self.is_connected
        self.is_connected = True
        if self.error:
            raise self.error
        self.offsets |= {partition: offset for partition, offset in offsets.items() if partition not in self.refused}
        return dict.fromkeys(offsets.keys() & self.refused, "UnknownMemberIdError")

    def close(self) -> None:
        self.is_connected = False


@pytest.fixture
def group() -> Iterator[FakeGroup]:
    group = FakeGroup()
    yield group
    group.answers.set()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offset_publisher, "RETRY_SECONDS", 0.01)


def test_publishing_does_not_wait_for_a_frozen_coordinator(group: FakeGroup) -> None:
    publisher = OffsetPublisher(group)
    group.answers.clear()

    publisher.publish({0: 1})
    eventually(lambda: group.calls == 1, seconds=SECONDS, what="the coordinator to be asked")
    publisher.publish({0: 2, 1: 5})
    publisher.publish({0: 3, 1: 6})
    group.answers.set()
    publisher.finish(SECONDS)

    assert {0: 3, 1: 6} == group.offsets
    assert 2 == group.calls  # those in between were replaced by newer ones


def test_the_end_of_a_run_waits_for_a_frozen_coordinator_in_bounded_time(group: FakeGroup) -> None:
    publisher = OffsetPublisher(group)
    group.answers.clear()

    publisher.publish({0: 1})
    publisher.finish(0.01)

    assert {} == group.offsets


@pytest.mark.parametrize("is_unreachable", [False, True])
def test_what_was_refused_is_tried_again_and_logged_once(
    group: FakeGroup, caplog: pytest.LogCaptureFixture, is_unreachable: bool
) -> None:
    caplog.set_level(logging.INFO)
    publisher = OffsetPublisher(group)
    if is_unreachable:
        group.error = OSError("no coordinator")
    else:
        group.refused = {1}

    publisher.publish({0: 1, 1: 5})
    eventually(lambda: group.calls >= 3, seconds=SECONDS, what="three attempts")
    publisher.publish({0: 2, 1: 6})
    eventually(lambda: group.calls >= 6, seconds=SECONDS, what="three more attempts")
    assert [logging.WARNING] == [record.levelno for record in caplog.records]
    assert group.connects == group.calls or group.connects == group.calls - 1  # each attempt connects again

    group.error, group.refused = None, set()
    eventually(lambda: {0: 2, 1: 6} == group.offsets, seconds=SECONDS, what="all offsets")
    publisher.finish(SECONDS)
    assert [logging.WARNING, logging.INFO] == [record.levelno for record in caplog.records]


def test_newer_offsets_end_the_attempts_with_older_ones(group: FakeGroup) -> None:
    """A released partition is its next holder's to publish."""
    publisher = OffsetPublisher(group)
    group.refused = {0}
    publisher.publish({0: 1})
    eventually(lambda: group.calls >= 2, seconds=SECONDS, what="a second attempt")

    publisher.publish({1: 5})
    eventually(lambda: {1: 5} == group.offsets, seconds=SECONDS, what="the newer offsets")
    publisher.finish(SECONDS)
    calls = group.calls
    publisher.publish({1: 6})
    publisher.finish(SECONDS)

    assert calls + 1 == group.calls


def test_a_publisher_that_was_closed_while_it_connects_disconnects(group: FakeGroup) -> None:
    publisher = OffsetPublisher(group)
    group.answers.clear()
    publisher.publish({0: 1})
    eventually(lambda: group.calls == 1, seconds=SECONDS, what="the coordinator to be asked")

    publisher.close()
    group.answers.set()
    eventually(lambda: group.connects and not group.is_connected, seconds=SECONDS, what="it to disconnect")

    publisher.publish({0: 2})
    publisher.finish(SECONDS)
    assert {0: 1} == group.offsets
