"""Grafana loads and shows the dashboards whole, and no alert waits for a value that its metric never has."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from todos.monitoring.problems import ProblemCode

ROOT = Path(__file__).resolve().parents[3]
GRAFANA = ROOT / "docker" / "monitoring" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
COLUMNS = 24


def provisioned(what: str) -> list[dict[str, Any]]:
    (path,) = (GRAFANA / "provisioning" / what).glob("*.yml")
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["providers" if what == "dashboards" else what]
    return found


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    panels = dashboard["panels"]
    places = {panel["title"]: panel["gridPos"] for panel in panels}
    targets = [target for panel in panels for target in panel.get("targets", [])]
    sources = [one["datasource"] for one in [*targets, *(panel for panel in panels if panel["type"] != "row")]]

    assert dashboard["uid"]
    assert dashboard["title"]
    assert len(panels) == len({panel["id"] for panel in panels}) == len(places)
    assert [] == [panel["title"] for panel in panels if (panel["type"] == "row") is bool(panel.get("targets"))]
    for panel in panels:
        letters = [target["refId"] for target in panel.get("targets", [])]
        assert len(letters) == len(set(letters)), panel["title"]
    assert [] == [title for title, place in places.items() if place["x"] + place["w"] > COLUMNS]
    assert [] == [(a, b) for (a, one), (b, other) in combinations(places.items(), 2) if overlap(one, other)]
    assert {(one["type"], one["uid"]) for one in sources} == {("prometheus", "prometheus")}


def test_grafana_is_given_the_dashboards_and_their_datasource() -> None:
    compose = yaml.safe_load((ROOT / "compose.yml").read_text())["services"]
    (source,) = provisioned("datasources")
    (provider,) = provisioned("dashboards")
    mounted = {where: host for host, where, _ in (volume.split(":") for volume in compose["grafana"]["volumes"][:2])}

    assert DASHBOARDS
    assert ("prometheus", "prometheus") == (source["type"], source["uid"])
    assert source["url"] == "http://prometheus:9090"
    assert set(compose["grafana"]["networks"]) & set(compose["prometheus"]["networks"])
    assert ROOT / mounted[provider["options"]["path"]] == GRAFANA / "dashboards"
    assert mounted["/etc/grafana/provisioning"] == "./docker/monitoring/grafana/provisioning"


def test_the_alerts_name_codes_that_the_metric_has() -> None:
    alerts = (ROOT / "docker" / "monitoring" / "alerts.yml").read_text()
    named = {code for codes in re.findall(r'todo_problem\{code=~"([^"]+)"\}', alerts) for code in codes.split("|")}

    assert named
    assert set() == named - {code for code in ProblemCode if code.needs_operator}
