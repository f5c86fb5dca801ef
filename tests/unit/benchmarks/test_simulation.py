"""The simulation keeps the laws that hold whatever its numbers are."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.capacity.simulation import Setting, simulate
from todos.ledger.leases import HEARTBEAT_SECONDS, LEASE_SECONDS

ROW = 1e-5  # so that one child stores 100,000 rows a second
CALM = Setting(rate=50_000, row=ROW, database_row=ROW / 2, database_cores=4, small=0.004, hop=0.005, seconds=30)
HOSTS = replace(CALM, rate=150_000, hosts=4, children=1, partitions=16, every=2, seconds=90)


@settings(max_examples=50)
@given(
    st.builds(
        Setting,
        rate=st.floats(1, 500_000),
        row=st.floats(1e-6, 1e-4),
        database_row=st.floats(1e-6, 1e-4),
        database_cores=st.integers(1, 8),
        small=st.floats(0.001, 0.1),
        hop=st.floats(0, 0.1),
        seconds=st.just(12.0),
        partitions=st.integers(2, 12),
        skew=st.floats(0, 2),
        hosts=st.integers(1, 3),
        children=st.integers(1, 3),
        shards=st.integers(1, 2),
        every=st.floats(1, 10),
        fails_at=st.floats(2, 5),
        back_at=st.floats(7, 10),
    )
)
def test_nothing_appears_or_vanishes_and_nobody_is_faster_than_it_can_be(setting: Setting) -> None:
    stored = accepted = 0
    for sample in simulate(setting):
        assert sample.accepted == sample.stored + sample.lag
        assert 0 <= sample.lag
        assert stored <= sample.stored
        assert accepted <= sample.accepted <= setting.rate * sample.at + setting.partitions
        stored, accepted = sample.stored, sample.accepted
    batches = setting.max_records * setting.hosts * setting.children  # that had begun
    children = setting.hosts * setting.children / setting.row
    database = setting.shards * setting.database_cores / setting.database_row
    assert stored <= min(children, database) * setting.seconds + batches


def test_with_half_of_its_load_it_is_never_behind_for_long() -> None:
    samples = simulate(CALM)
    assert max(sample.lag for sample in samples) < 0.1 * CALM.rate
    assert max(sample.delay for sample in samples) < 0.1


@pytest.mark.parametrize(
    ("changes", "capacity"),
    [
        ({}, 200_000),  # of two children
        ({"partitions": 1}, 100_000),  # of one: the other has nothing to do
        ({"database_cores": 0.25}, 50_000),
        ({"edge_rate": 20_000}, 20_000),
    ],
)
def test_with_too_much_of_it_the_narrowest_place_decides(changes: dict[str, float], capacity: float) -> None:
    stored = simulate(CALM, rate=1e6, **changes)[-1].stored
    assert capacity == pytest.approx(stored / CALM.seconds, rel=0.1)


def test_the_partitions_of_a_dead_host_wait_for_its_leases_and_are_caught_up_then() -> None:
    samples = simulate(HOSTS, fails_at=20, back_at=60)
    lag = {sample.at: sample.lag for sample in samples}
    share = HOSTS.rate / HOSTS.hosts
    assert lag[20] < 0.1 * HOSTS.rate
    assert (LEASE_SECONDS - HEARTBEAT_SECONDS) * share <= max(lag.values()) <= (LEASE_SECONDS + 2) * share
    assert lag[90] < 0.1 * HOSTS.rate


def test_partitions_that_cannot_be_shared_fairly_leave_children_without_any() -> None:
    """Five children and six partitions: a fair share is two, so three children have all."""
    samples = simulate(CALM, rate=1e6, partitions=6, children=5, every=2, database_cores=100)
    assert 300_000 == pytest.approx(samples[-1].stored / CALM.seconds, rel=0.1)
