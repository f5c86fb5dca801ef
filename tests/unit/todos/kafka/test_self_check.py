"""A renamed name inside kafka-python or aiokafka is noticed, and reported in one warning."""

import logging
from functools import cache

import pytest

from tests.support.renamed import run_renamed
from todos.kafka import decoding

INSTALL_TWICE = """
import logging, types
from kafka.consumer.fetcher import Fetcher
from todos.kafka import decoding
logging.basicConfig(format="%(message)s", stream=__import__("sys").stdout)
class Consumer:
    def __init__(self):
        self.{fetcher} = types.SimpleNamespace(PartitionRecords=None, _parse_fetched_data=None)
    def highwater(self, where):
        return 0
print(decoding.install(Consumer()), decoding.install(Consumer()))
"""


def test_the_pinned_versions_are_as_expected() -> None:
    assert decoding._reason_against_it() is None


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("kafka", "_unpack_records"),
        ("kafka", "_parse_fetched_data"),
        ("kafka", "_read_msg"),
        ("aiokafka", "DefaultRecordBatchBuilder"),
    ],
)
def test_a_name_that_moved_is_said_once(package: str, name: str) -> None:
    printed = run_renamed(INSTALL_TWICE.format(fetcher="_fetcher"), package, name)

    assert printed.endswith("False False\n")
    assert 1 == printed.count("Reading through kafka-python's public API: slower, still exact")


def test_a_fetcher_that_moved_is_said_once() -> None:
    printed = run_renamed(INSTALL_TWICE.format(fetcher="_elsewhere"), "nothing", "nothing")

    assert printed.endswith("False False\n")
    assert 1 == printed.count("has no attribute '_fetcher'. Reading through kafka-python's public API")


def test_records_that_come_out_otherwise_are_noticed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("todos.kafka.decoding.fast_path.DefaultRecordBatch", lambda _: iter(()))
    monkeypatch.setattr(decoding, "_reason_against_it", cache(decoding._reason_against_it.__wrapped__))
    monkeypatch.setattr(decoding, "_warn", cache(decoding._warn.__wrapped__))

    with caplog.at_level(logging.WARNING):
        assert not decoding.install(object())

    assert "aiokafka's DefaultRecordBatch gives other records than were encoded" in caplog.text
