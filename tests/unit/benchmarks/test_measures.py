"""No ratio is flattered, and every goal is shown, met or not."""

import json
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks.measures import Goal, Measure, cut
from benchmarks.report import save, show
from benchmarks.stats import growth_percent, serial_limit


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    measure = Measure("speed", "x/s", [10, 20, 90], [10, 10, 30], "bare")
    assert [1, 2, 3] == measure.ratios
    assert 2 == measure.ratio
    assert 20 == measure.value


@pytest.mark.parametrize(
    ("ours", "baseline", "goal", "met"),
    [
        ([99.9], [100], Goal(1), False),
        ([100], [100], Goal(1), True),
        ([49], [], Goal(50, "ours", at_most=True), True),
        ([50.1], [1], Goal(50, "ours", at_most=True), False),
        ([16], [10], Goal(1.5, at_most=True), False),
        ([16], [10], None, None),
    ],
)
def test_a_goal_is_met_exactly(ours: list[float], baseline: list[float], goal: Goal | None, met: bool | None) -> None:
    assert met is Measure("speed", "x/s", ours, baseline, goal=goal).met


@pytest.mark.parametrize(
    ("value", "shown"), [(0.9999, "0.999"), (1.999, "1.99"), (12.39, "12.3"), (25_999.9, "25,999"), (0, "0.000")]
)
def test_numbers_are_cut_not_rounded(value: float, shown: str) -> None:
    assert shown == cut(value)


def test_growth_is_that_of_the_crests_in_the_last_two_thirds() -> None:
    assert 0 == growth_percent([10, 90, 100, 80, 100, 70])
    assert 50 == growth_percent([10, 90, 100, 80, 100, 150])
    assert 0 == growth_percent([1, 2])


def test_the_serial_limit_of_two_equal_halves_is_half_of_each() -> None:
    assert 50 == pytest.approx(serial_limit(100, 100))


MEASURES = [
    Measure("met & <shown>", "x/s", [3], [2], "bare", Goal(1)),
    Measure("unmet", "ms", [51], goal=Goal(50, "ours", at_most=True), note="because"),
    Measure("without goal", "ms", [1]),
]


def test_each_part_keeps_its_section_in_the_file_and_its_bars_in_the_chart(tmp_path: Path) -> None:
    path = tmp_path / "results" / "2026-01-02.json"
    for part in ("edge", "drain", "edge"):
        save(path, part, {"measures": [measure.as_json() for measure in MEASURES]})
    parts = json.loads(path.read_text())["parts"]
    assert ["edge", "drain"] == list(parts)
    assert [True, False, None] == [measure.get("met") for measure in parts["edge"]["measures"]]
    chart = ElementTree.fromstring(path.with_suffix(".svg").read_text())
    texts = [element.text or "" for element in chart.iter() if element.tag.endswith("text")]
    for part in ("edge", "drain"):
        assert 1 == texts.count(f"{part}: met & <shown> / bare")
        assert 1 == texts.count(f"{part}: unmet")
    assert 4 == sum(element.tag.endswith("rect") for element in chart.iter())


def test_the_table_shows_unmet_goals_with_their_reason() -> None:
    show("edge", MEASURES, Console(width=140, file=(output := StringIO())))
    text = output.getvalue()
    assert 1 == text.count(" NO ")
    assert 1 == text.count(" yes ")
    assert "unmet: because" in text
