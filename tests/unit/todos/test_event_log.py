"""A record is told from any other that may stand at its offset, or behind it, in another log."""

from dataclasses import replace

import pytest

from tests.support.hostile import Draft
from todos.event_log import RecordIdentity, Undecodable

RECORD = Draft(b"value", b"key", ((b"name", b"content"), (b"null", None)), 5, 0, 7, leader_epoch=3)


@pytest.mark.parametrize(
    "other",
    [
        replace(RECORD, value=b"Value"),
        replace(RECORD, value=None),
        replace(RECORD, value=b""),
        replace(RECORD, key=None),
        replace(RECORD, key=b"keyv", value=b"alue"),
        replace(RECORD, raw_headers=((b"name", b"content"),)),
        replace(RECORD, raw_headers=((b"name", b"content"), (b"null", b""))),
        replace(RECORD, raw_headers=((b"\xff", b"content"), (b"null", None))),
        replace(RECORD, timestamp=6),
        replace(RECORD, leader_epoch=4),
        replace(RECORD, offset=8, leader_epoch=2),
    ],
)
def test_another_record_is_another_log(other: Draft) -> None:
    assert RecordIdentity.of(RECORD).is_contradicted_by(other)


@pytest.mark.parametrize(
    "found",
    [
        replace(RECORD),
        replace(RECORD, leader_epoch=-1),  # in the oldest formats
        replace(RECORD, offset=9, value=b"compaction removed the one that is known"),
        Undecodable(0, 7, "its checksum is wrong", b"rotted"),
    ],
)
def test_the_same_record_or_none_proves_nothing_against_the_log(found: Draft | Undecodable) -> None:
    assert not RecordIdentity.of(RECORD).is_contradicted_by(found)
