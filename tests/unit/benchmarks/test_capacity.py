"""The capacity model uses measured costs only, and says so where it has none."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.capacity.bounds import drain_rate, intake_rate, through_rate
from benchmarks.capacity.command import EXAMPLES, main, parser
from benchmarks.capacity.costs import Costs, NoCosts, costs_of, newest, read
from benchmarks.capacity.plan import Wanted, plan
from tests.support.costs import measures, results


@pytest.fixture
def costs() -> Costs:
    return costs_of(measures())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "2026-01-02.json"
    path.write_text(json.dumps(results()))
    return path


def needs(costs: Costs, wanted: Wanted) -> dict[str, float]:
    return {need.name: need.amount for need in plan(costs, wanted).needs}


def test_a_rate_needs_what_its_formulas_say(costs: Costs) -> None:
    found = needs(costs, Wanted(100_000, retention_hours=10, keep_days=2, utilisation=0.5))
    assert 20 == found["edge processes"]  # 100,000 / (10,000 x 0.5)
    assert 3 == found["worker children"]  # 100,000 / (80,000 x 0.5) = 2.5
    assert 12 == found["partitions"]
    assert 6.2 == pytest.approx(found["Kafka, all brokers"])  # 100,000 x (3 x 10 + 1) us / 0.5
    assert 2.475 == pytest.approx(found["PostgreSQL, all primaries"])  # (100,000 x 8 us + (3 - 1.25) x 0.25) / 0.5
    assert 1 == found["PostgreSQL primaries"]  # of 16 cores and 500 MB/s: 312,500 rows/s
    assert 20 * 5 == found["connections, edges to Kafka"]  # to three brokers
    assert 3 == found["connections, workers to PostgreSQL"]
    assert 25 == pytest.approx(found["network, edges to Kafka"])  # MB/s
    assert 75 == pytest.approx(found["network, out of Kafka"])
    assert 2_700 == pytest.approx(found["Kafka's disk, all brokers"])  # GB: 25 MB/s x 36,000 s x 3
    assert 2_592 == pytest.approx(found["PostgreSQL's disk, a day"])  # GB: 30 MB/s x 86,400 s
    assert 5_184 == pytest.approx(found["PostgreSQL's disk, 2 days"])


def test_batches_need_fewer_edges_and_larger_rates_more_primaries(costs: Costs) -> None:
    assert 2 == needs(costs, Wanted(100_000, batch=True, utilisation=0.5))["edge processes"]
    assert 4 == needs(costs, Wanted(1_000_000, utilisation=0.5))["PostgreSQL primaries"]
    quick_disk = Wanted(1_000_000, utilisation=0.5, primary_disk=2_000)
    assert 2 == needs(costs, quick_disk)["PostgreSQL primaries"]  # of 16 cores: 719,000 rows/s


@pytest.mark.parametrize(("rate", "children"), [(1, 1), (100_000, 3), (1_000_000, 25), (5_000_000, 125)])
def test_the_schedules_have_a_poll_for_every_child(costs: Costs, rate: float, children: int) -> None:
    found = needs(costs, Wanted(rate, utilisation=0.5))
    assert children == found["worker children"]
    every, budget = found["interval of each schedule"], found["time budget of each schedule"]
    assert 1 <= every <= budget <= 60
    assert children <= found["schedules of the poll"] * budget / every


def test_limits_come_in_the_order_in_which_they_break(costs: Costs) -> None:
    limits = plan(costs, Wanted(1, utilisation=0.5)).limits
    assert sorted(limit.at for limit in limits) == [limit.at for limit in limits]
    at = {limit.name: limit.at for limit in limits}
    assert 5_000 == at["one edge process"]
    assert 80_000 == at["the default schedule, 2 polls at a time"]
    assert 312_500 == pytest.approx(at["one PostgreSQL primary"])


def test_one_machine_is_as_fast_as_its_processes_or_its_cores(costs: Costs) -> None:
    assert 10_000 == intake_rate(costs.single, edges=1, cores=2)
    assert 20_000 == pytest.approx(intake_rate(costs.single, edges=3, cores=2))  # 2 / 100 us
    assert 80_000 == drain_rate(costs.drain, children=2, partitions=1, cores=4)
    assert 100_000 == pytest.approx(drain_rate(costs.drain, children=2, partitions=2, cores=2))  # 2 / 20 us


def test_edge_and_drain_slow_each_other_down_where_they_share_too_few_cores(costs: Costs) -> None:
    both = partial(through_rate, costs.batch, costs.drain, edges=1, children=2, partitions=6)
    assert 100_000 == both(cores=4)  # one edge's rate
    # Less than 2 / 30 us, for what the children have left of their time goes into small transactions.
    assert 61_270 == pytest.approx(both(cores=2), rel=1e-3)
    quick = costs.drain._replace(small_cores=0.0)
    assert 66_667 == pytest.approx(
        through_rate(costs.batch, quick, edges=1, children=2, partitions=6, cores=2), rel=1e-4
    )


def test_what_a_file_lacks_is_named(file: Path) -> None:
    section = results()
    del section["parts"]["scaling"]["measures"][0]
    file.write_text(json.dumps(section))
    with pytest.raises(NoCosts, match="lacks single: edge; make bench-scaling"):
        read(file)


def test_the_newest_file_that_has_costs_is_taken(file: Path) -> None:
    (file.parent / "2026-01-03.json").write_text('{"parts": {"edge": {}}}')
    (file.parent / "2026-01-04-quick.json").write_text(json.dumps(results()))
    assert file == newest(file.parent).path


@pytest.fixture
def called(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def call(*arguments: str) -> str:
        main(arguments)
        return capsys.readouterr().out

    return call


def test_the_command_shows_every_need_with_its_formula_and_every_limit(file: Path, called: Callable[..., str]) -> None:
    text = called("--todos-per-second", "100000", "--results", str(file))
    found: dict[str, Any] = json.loads(called("--todos-per-second", "100000", "--results", str(file), "--json"))
    assert found["wanted"]["todos_per_second"] == 100_000
    for name, how in [(need["name"], need["how"]) for need in found["needs"]]:
        assert name in text
        assert how in text
    assert 1 == text.count("100,000 todos a second, one by one")
    assert len([limit for limit in found["limits"] if limit["at"] < 100_000]) == text.count("beyond it")


def test_the_newest_results_of_the_repository_have_costs(called: Callable[..., str]) -> None:
    assert "5,000 todos a second" in called("--todos-per-second", "5000")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "--todos-per-second"),
        (("--todos-per-second", "0"), "must be a number above 0"),
        (("--todos-per-second", "1", "--utilisation", "1.1"), "must be above 0 and at most 1"),
        (("--todos-per-second", "1", "--replication", "0"), "must be a whole number above 0"),
    ],
)
def test_wrong_usage_is_refused(arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert 2 == ended.value.code
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("results", "complaint"),
    [("nowhere.json", "nowhere.json: No such file"), ("Makefile", "no results of make bench-scaling are in it")],
)
def test_a_file_without_costs_is_named(results: str, complaint: str) -> None:
    with pytest.raises(SystemExit, match=complaint):  # with a message the exit code is 1
        main(["--todos-per-second", "1", "--results", results])


def test_the_examples_of_the_help_work() -> None:
    examples = re.findall(r'^  make .*capacity ARGS="(.*)"', EXAMPLES, re.MULTILINE)
    assert 3 == len(examples)
    for arguments in examples:
        parser().parse_args(arguments.split())
