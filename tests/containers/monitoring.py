"""Prometheus' own verdict on what edge and web expose, and on all that dashboards and alerts ask for."""

import json
import re
from collections.abc import Callable
from urllib.parse import urlencode

import yaml

from devstack.environment import ROOT
from tests.containers.compose import Compose
from tests.containers.engine import Failed
from tests.containers.http import call, eventually

FOLDER = ROOT / "docker" / "monitoring"
TARGETS = ("edge:7007", "web:7008")
# What a family of these types is called in a query.
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


def check(compose: Compose, edges: int, say: Callable[[str], None]) -> None:
    (prometheus,) = compose.containers("prometheus")
    compose.engine.docker("exec", prometheus, "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    known = set().union(*(_exposed(compose, prometheus, target) for target in TARGETS))
    asked = _expressions()
    names = {name for expression in asked for name in re.findall(r"\btodo_\w+", expression)}
    if unknown := names - known:
        raise Failed(f"dashboards or alerts ask for {', '.join(sorted(unknown))}, which nobody exposes")
    url = compose.url("PROMETHEUS", "api/v1/")

    def all_up() -> list[str] | None:
        targets = (call(f"{url}targets") or {"data": {"activeTargets": []}})["data"]["activeTargets"]
        up = [target["labels"]["job"] for target in targets if target["health"] == "up"]
        return up if sorted(up) == ["edge"] * edges + ["web"] else None

    eventually(all_up, 60, f"Prometheus to reach {edges} edges and web")
    for expression in asked:
        if call(f"{url}query?{urlencode({'query': expression})}") is None:
            raise Failed(f"Prometheus refuses {expression}")
    say(
        f"promtool finds no fault in both /metrics; Prometheus reaches {edges} edges and web, and takes all "
        f"{len(asked)} expressions of dashboards and alerts, whose {len(names)} metrics are exposed"
    )


def _exposed(compose: Compose, prometheus: str, target: str) -> set[str]:
    """Also of metrics that have no value now."""
    fetch = (
        f"wget -q -O /tmp/metrics http://{target}/metrics && promtool check metrics </tmp/metrics && cat /tmp/metrics"
    )
    text = compose.engine.docker("exec", prometheus, "sh", "-c", fetch)
    types = re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
    return {name + suffix for name, kind in types for suffix in SUFFIXES.get(kind, ("",))}


def _expressions() -> list[str]:
    dashboards = (json.loads(path.read_text()) for path in (FOLDER / "grafana" / "dashboards").glob("*.json"))
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    panels = [panel for dashboard in dashboards for panel in dashboard["panels"]]
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return found + [rule["expr"] for group in groups for rule in group["rules"]]
