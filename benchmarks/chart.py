"""How much of each goal is reached, as an SVG; its greys and colours can be read on light and dark."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from benchmarks.measures import cut

WIDTH, LABEL, VALUE, ROW, TOP = 1040, 440, 240, 24, 48
PLOT = WIDTH - LABEL - VALUE
LEAST, MOST = 0.125, 8.0  # of a goal; what is beyond ends at the edge
TEXT, LINE, MET, UNMET = "#7a828e", "#7a828e55", "#2da44e", "#d1495b"


def draw(results: Mapping[str, Any]) -> str:
    """`results` is the content of a results file."""
    measures = [
        (part, measure)
        for part, section in results["parts"].items()
        for measure in section["measures"]
        if "goal" in measure
    ]
    rows = "".join(_row(TOP + ROW * number, part, measure) for number, (part, measure) in enumerate(measures))
    height = TOP + ROW * len(measures) + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        f' font-family="system-ui, sans-serif" font-size="13" fill="{TEXT}">\n'
        f"<title>Measured, compared with the goal</title>\n{_scale(height)}{rows}</svg>\n"
    )


def _row(y: int, part: str, measure: Mapping[str, Any]) -> str:
    start, end = sorted((_x(1.0), _x(_reached(measure))))
    name, shown = f"{part}: {measure['name']}", f"{cut(measure['ours'])} {measure['unit']}"
    if measure["goal"].startswith("ratio"):
        name, shown = f"{name} / {measure['baseline_name']}", cut(measure["ratio"])
    return (
        f'<text x="{LABEL - 10}" y="{y + 12}" text-anchor="end">{escape(name)}</text>\n'
        f'<rect x="{start:.1f}" y="{y}" width="{max(end - start, 2):.1f}" height="16" rx="2"'
        f' fill="{MET if measure["met"] else UNMET}"/>\n'
        f'<text x="{LABEL + PLOT + 10}" y="{y + 12}">{escape(shown)} (goal {escape(measure["goal"])})</text>\n'
    )


def _reached(measure: Mapping[str, Any]) -> float:
    """1 is just met, more is better, whichever way the goal points."""
    towards = float(measure["towards_goal"])
    return towards if "≥" in measure["goal"] else 1 / max(towards, 1e-9)


def _x(reached: float) -> float:
    """A logarithmic scale, the goal in the middle."""
    share = math.log(min(max(reached, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return LABEL + PLOT * share


def _scale(height: int) -> str:
    marks = ((LEAST, "⅛"), (0.25, "¼"), (0.5, "½"), (1.0, "goal"), (2.0, "2×"), (4.0, "4×"), (MOST, "8×"))  # noqa: RUF001
    return "".join(
        f'<line x1="{_x(at):.1f}" x2="{_x(at):.1f}" y1="{TOP - 12}" y2="{height - 8}" stroke="{LINE}"/>\n'
        f'<text x="{_x(at):.1f}" y="{TOP - 20}" text-anchor="middle">{name}</text>\n'
        for at, name in marks
    )
