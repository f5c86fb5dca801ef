"""The costs that the benchmark writes are those that the capacity model reads, and an error is never flattered."""

import pytest

from benchmarks.capacity.costs import costs_of
from benchmarks.measures import Measure, within
from benchmarks.scaling_measures import Delay, Seen, Window, costs, predictions

LINKS = {"connections": 3, "record": 250.0}
SIZES = {"heap": 200.0, "indexes": 100.0, "wal": 500.0, "kafka_connections": 3, "postgres_connections": 1}
INTAKE = Window(20_000, 2.0, {"edge": 1.0, "kafka": 0.2, "rest": 0.8}, LINKS)
DRAIN = Window(160_000, 2.0, {"worker": 1.28, "postgres": 1.28, "kafka": 0.16, "rest": 0.48}, SIZES)
# 1,000 todos took 27 us each, as above, and the two children half a core beside that.
SLOW = Window(1_000, 1.0, {"worker": 0.208, "postgres": 0.208, "kafka": 0.111, "rest": 9.9})
DELAY = Delay(least=0.004, p50=0.008, gap=0.005, window=SLOW)


def seen() -> Seen:
    two = {8: [DRAIN], 3: [DRAIN], 1: [DRAIN]}
    return Seen([INTAKE], [INTAKE], [INTAKE], [DRAIN], two, [16_000.0], [16_000.0], [DELAY], [DELAY])


def test_each_cost_is_of_one_todo_and_found_again() -> None:
    found = costs_of([measure.as_json() for measure in costs(seen())])
    assert (50e-6, 10e-6, 40e-6, 10_000, 250, 3) == pytest.approx(found.single)
    assert (8e-6, 8e-6, 1e-6, 3e-6, 80_000, 200, 100, 500, 0.005, 0.25, 0.004, 3, 1) == pytest.approx(found.drain)


def test_predictions_stand_beside_what_was_measured() -> None:
    found = costs_of([measure.as_json() for measure in costs(seen())])
    measures = {measure.name: measure for measure in predictions(found, seen(), cores=2)}
    assert [20_000] == pytest.approx(measures["two edge processes"].baseline)
    assert [100_000] == pytest.approx(measures["two children, partitions: 8"].baseline)
    assert [80_000] == measures["two children, partitions: 1"].baseline
    assert [10_000] == pytest.approx(measures["edge and drain, single"].baseline)  # one edge process
    assert measures["two children, partitions: 8"].met
    assert not measures["two edge processes"].met  # it took half of what was predicted


@pytest.mark.parametrize(
    ("measured", "met"), [(100.0, True), (75.0, True), (125.0, True), (74.0, False), (126.0, False)]
)
def test_an_error_counts_to_either_side(measured: float, met: bool) -> None:
    measure = Measure("speed", "/s", [measured], [100.0], "predicted", within(25))
    assert met is measure.met
    assert "error % ≤ 25" == str(measure.goal)
