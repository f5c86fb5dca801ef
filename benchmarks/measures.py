"""A measure, what it is compared with, and whether its goal is met."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal


@dataclass
class Goal:
    """`of` the ratio to the baseline, of our own value, or of the error: how far the ratio is from 1, in percent."""

    limit: float
    of: Literal["ratio", "ours", "error"] = "ratio"
    at_most: bool = False

    def __str__(self) -> str:
        name = {"ratio": "ratio ", "ours": "", "error": "error % "}[self.of]
        return f"{name}{'≤' if self.at_most else '≥'} {self.limit:,g}"


def within(percent: float) -> Goal:
    """Of the baseline, which is a prediction."""
    return Goal(percent, "error", at_most=True)


@dataclass
class Measure:
    """Medians over the rounds; the ratio is the median of the rounds' ratios, so that a slow minute hits both sides."""

    name: str
    unit: str
    ours: list[float]
    baseline: list[float] = field(default_factory=list)
    baseline_name: str = ""
    goal: Goal | None = None
    note: str = ""
    raw: dict[str, Any] = field(default_factory=dict)  # whatever else was seen, for the JSON only

    @property
    def value(self) -> float:
        return median(self.ours)

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.baseline, strict=True)] if self.baseline else []

    @property
    def ratio(self) -> float | None:
        return median(self.ratios) if self.baseline else None

    @property
    def error(self) -> float | None:
        return None if self.ratio is None else abs(self.ratio - 1) * 100

    @property
    def met(self) -> bool | None:
        """None without a goal."""
        if self.goal is None:
            return None
        return self.towards_goal <= 1 if self.goal.at_most else self.towards_goal >= 1

    @property
    def towards_goal(self) -> float:
        """What is measured as a part of what is wanted; 1 is just met, from either side."""
        assert self.goal is not None  # noqa: S101 - for mypy
        measured = {"ours": self.value, "ratio": self.ratio, "error": self.error}[self.goal.of]
        assert measured is not None, self.name  # noqa: S101
        return measured / self.goal.limit

    def as_json(self) -> dict[str, Any]:
        goal = {"goal": str(self.goal), "met": self.met, "towards_goal": self.towards_goal} if self.goal else {}
        compared = (
            {
                "baseline": median(self.baseline),
                "baseline_name": self.baseline_name,
                "ratio": self.ratio,
                "ratio_spread": [min(self.ratios), max(self.ratios)],
            }
            if self.baseline
            else {}
        )
        rounds = {"ours": self.ours, "baseline": self.baseline, "ratios": self.ratios, **self.raw}
        shown = {"name": self.name, "unit": self.unit, "ours": self.value, **compared, **goal, "note": self.note}
        return shown | {"rounds": rounds}


def cut(value: float) -> str:
    """Three digits or all that are before the point; cut, not rounded, because 0.998 is no 1.00."""
    if abs(value) >= 100:
        return f"{int(value):,}"
    places = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{int(value * 10**places) / 10**places:.{places}f}"
