"""Prefetched records come once, in order, and never after the partitions were assigned again."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hostile import Draft
from tests.support.memory_log import MemoryLog
from tests.support.topic import event
from todos.event_log import Log, LogDiverged, LogUnavailable, OffsetOutOfRange, RecordIdentity
from todos.ingest.prefetch import PREFETCH_MIN_RECORDS, Prefetcher

SECONDS = 10.0  # until a test gives up
END = 60
# An offset to assign, or None for a read.
STEPS = st.lists(st.none() | st.integers(0, END), max_size=20)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefetch after a batch of any size."""
    monkeypatch.setattr("todos.ingest.prefetch.PREFETCH_MIN_RECORDS", 1)


def read(reader: Prefetcher) -> list[int]:
    """Offsets."""
    return [todo.source_offset for todo in reader.read(0.1).records.todos]


def test_a_log_in_memory_is_a_log() -> None:
    log: Log = MemoryLog({0: 1})
    assert [0] == log.partitions()


def test_one_batch_is_prefetched_and_no_more() -> None:
    """Also with fewer than PREFETCH_MIN_RECORDS records at a time, because there may be more of them."""
    log = MemoryLog({0: 100})
    with Prefetcher(log, max_records=10) as reader:
        reader.assign({0: 0})
        assert [*range(10)] == read(reader)
        for _ in range(2):
            assert log.polls.acquire(timeout=SECONDS), "the next batch is not read before it is asked for"
        assert [*range(10, 20)] == read(reader)
        assert log.polls.acquire(timeout=SECONDS)
    assert {0: 30} == log.positions()


@pytest.mark.parametrize("max_records", [100, 5_000])
def test_nothing_is_prefetched_after_a_small_batch(max_records: int) -> None:
    """Records that arrive meanwhile make the next batch larger."""
    small = min(PREFETCH_MIN_RECORDS, max_records) - 1
    log = MemoryLog({0: small})
    with Prefetcher(log, max_records) as reader:
        reader.assign({0: 0})
        assert small == len(read(reader))
        log.ends[0] += 7
        assert 7 == len(read(reader))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("error", [LogUnavailable("gone"), OffsetOutOfRange("deleted")])
def test_an_error_comes_out_of_the_read_that_it_belongs_to(error: Exception) -> None:
    log = MemoryLog({0: 100}, errors={10: error})
    with Prefetcher(log, max_records=10) as reader:
        reader.assign({0: 0})
        assert [*range(10)] == read(reader)
        with pytest.raises(type(error), match=str(error)):
            read(reader)
        assert [*range(10, 20)] == read(reader)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("errors", [{}, {10: LogUnavailable("gone")}])
def test_prefetched_records_are_discarded_when_partitions_are_assigned(errors: dict[int, Exception]) -> None:
    log = MemoryLog({0: 100, 1: 100}, errors=errors)
    with Prefetcher(log, max_records=10) as reader:
        reader.assign({0: 0})
        read(reader)
        reader.assign({1: 50})
        batch = reader.read(0.1)
    assert {1: (50, 60)} == batch.ranges
    assert [(1, offset) for offset in range(50, 60)] == [
        (todo.source_partition, todo.source_offset) for todo in batch.records.todos
    ]


@given(STEPS, st.sets(st.integers(0, END)), st.sets(st.integers(0, END)), st.integers(1, 20))
@pytest.mark.usefixtures("always")
def test_each_record_from_an_assigned_offset_on_comes_once_and_in_order(
    steps: list[int | None], holes: set[int], errors: set[int], max_records: int
) -> None:
    log = MemoryLog({0: END}, frozenset(holes), {offset: LogUnavailable("gone") for offset in errors})
    with Prefetcher(log, max_records) as reader:
        at = 0
        reader.assign({0: at})
        for step in steps + [None] * (2 * END + 2):
            if step is not None:
                at = step
                reader.assign({0: at})
                continue
            try:
                batch = reader.read(0)
            except LogUnavailable:
                continue
            start, end = batch.ranges.get(0, (at, at))
            assert at == start
            assert [o for o in range(start, end) if o not in holes] == [t.source_offset for t in batch.records.todos]
            at = end
    assert END == at


@pytest.mark.usefixtures("always")
def test_nothing_comes_of_a_partition_from_a_newer_event_on() -> None:
    log = MemoryLog({0: 100, 1: 100}, unsupported=frozenset({15}))
    with Prefetcher(log, max_records=40) as reader:
        reader.assign({0: 0, 1: 50})
        ranges = [reader.read(0.1).ranges for _ in range(3)]
    assert [{0: (0, 15)}, {1: (50, 90)}, {1: (90, 100)}] == ranges


@pytest.mark.parametrize("last", [9, 5])  # 6 to 9 are transaction markers, say
def test_reading_begins_behind_the_last_record_if_the_log_still_has_it(last: int) -> None:
    log = MemoryLog({0: 20, 1: 5}, holes=frozenset(range(last + 1, 10)))
    known = RecordIdentity.of(Draft(event(), offset=last))
    with Prefetcher(log, max_records=10) as reader:
        reader.assign({0: 10, 1: 0}, {0: known})
        batches = [reader.read(0.1) for _ in range(3)]
    offsets = [todo.source_offset for batch in batches for todo in batch.records.todos if todo.source_partition == 0]
    assert [*range(10, 20)] == offsets
    assert 10 == next(batch.ranges[0][0] for batch in batches if 0 in batch.ranges)


def test_reading_goes_on_at_the_ledger_however_far_behind_the_last_record_it_is() -> None:
    """Nothing between the two is read: aborted transactions, or what a worker of the release before stored."""
    log = MemoryLog({0: 9_020, 1: 9_020})
    known = RecordIdentity.of(Draft(event(), offset=5))
    with Prefetcher(log, max_records=10) as reader:
        reader.assign({0: 9_000, 1: 9_000}, {0: known, 1: known._replace(checksum=known.checksum + 1)})
        reader.read(0.1)
        assert {0: (9_000, 9_010)} == reader.read(0.1).ranges
        reader.read(0.1)
        with pytest.raises(LogDiverged):
            reader.read(0.1)


def test_a_newer_event_leaves_the_other_partitions_to_be_verified() -> None:
    log = MemoryLog({0: 10, 1: 20}, unsupported=frozenset({3}))
    other = RecordIdentity.of(Draft(event(title="of the log before"), offset=9))
    with Prefetcher(log, max_records=10) as reader:
        reader.assign({0: 0, 1: 10}, {1: other})
        assert {0: (0, 3)} == reader.read(0.1).ranges
        with pytest.raises(LogDiverged):
            reader.read(0.1)


def test_nothing_comes_of_a_log_that_has_another_record_where_the_last_one_was() -> None:
    known = RecordIdentity.of(Draft(event(title="of the log before"), offset=9))
    with Prefetcher(MemoryLog({0: 20, 1: 20}), max_records=10) as reader:
        reader.assign({1: 10, 0: 10}, {0: known})
        assert {1: (10, 20)} == reader.read(0.1).ranges
        with pytest.raises(LogDiverged) as caught:
            reader.read(0.1)
    assert 0 == caught.value.partition


def test_the_thread_ends_with_the_block() -> None:
    before = threading.active_count()
    with Prefetcher(MemoryLog({0: 1}), max_records=10) as reader:
        reader.assign({0: 0})
        assert before + 1 == threading.active_count()
    assert before == threading.active_count()
