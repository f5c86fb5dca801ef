"""Costs in round numbers, in the form in which `make bench-scaling` writes them."""

from collections.abc import Mapping
from typing import Any

from benchmarks.measures import Measure
from todos.capacity.costs import Drain, Intake, measure_name

SINGLE = {"edge": 50, "kafka": 10, "rest": 40, "rate": 10_000, "record": 250, "connections": 3}
BATCH = {"edge": 5, "kafka": 2, "rest": 3, "rate": 100_000, "record": 200, "connections": 3}
DRAIN = {
    "worker": 8, "postgres": 8, "kafka": 1, "rest": 3, "rate": 80_000,
    "heap": 200, "indexes": 100, "wal": 500, "small": 5, "small_cores": 0.25, "hop": 4,
    "kafka_connections": 3, "postgres_connections": 1,
}  # fmt: skip
UNITS = {"rate": "/s", "small": "ms", "hop": "ms"}
TIMES = ("edge", "worker", "postgres", "kafka", "rest")


def measures() -> list[dict[str, Any]]:
    stages: list[tuple[str, tuple[str, ...], Mapping[str, float]]] = [
        ("single", Intake._fields, SINGLE),
        ("batch", Intake._fields, BATCH),
        ("drain", Drain._fields, DRAIN),
    ]
    return [
        Measure(measure_name(stage, name), "us" if name in TIMES else UNITS.get(name, ""), [values[name]]).as_json()
        for stage, names, values in stages
        for name in names
    ]


def results() -> dict[str, Any]:
    """A results file."""
    machine = {"cores": 2, "cpu": "a processor"}
    return {"parts": {"scaling": {"measured": "2026-01-02T03:04:05", "machine": machine, "measures": measures()}}}
