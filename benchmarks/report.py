"""The table, and the results as JSON: one file a day, in which each part keeps its own section."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.chart import draw
from benchmarks.measures import Measure, cut
from devstack.environment import ROOT
from devstack.jars import KAFKA_VERSION

if TYPE_CHECKING:  # at run time it sets up Django
    from benchmarks.world import World

PACKAGES = (
    "aiokafka", "celery", "confluent-kafka", "crc32c", "django", "django-celery-beat", "djangorestframework", "fastapi",
    "httptools", "kafka-python", "psycopg2-binary", "pydantic", "starlette", "uvicorn", "uvloop",
)  # fmt: skip


def show(part: str, measures: Sequence[Measure], console: Console) -> None:
    console.print(_table(part, measures))
    for measure in measures:
        if measure.note:
            console.print(f"  {measure.name}: {measure.note}", highlight=False, markup=False)


def show_all(measures: Mapping[str, Sequence[Measure]], console: Console) -> None:
    """All parts in one table."""
    table = _table("all", [])
    for of_part in measures.values():
        for measure in of_part:
            table.add_row(*_row(measure))
        table.add_section()
    console.print(table)


def _table(title: str, measures: Sequence[Measure]) -> Table:
    table = Table(box=SIMPLE, title=title)
    for heading in ("measure", "ours", "baseline", "ratio (spread)", "goal", "met"):
        table.add_column(heading, justify="left" if heading in ("measure", "met") else "right")
    for measure in measures:
        table.add_row(*_row(measure))
    return table


def _row(measure: Measure) -> list[str]:
    baseline = f"{cut(median(measure.baseline))} {measure.baseline_name}" if measure.baseline else ""
    spread = f"({cut(min(measure.ratios))}-{cut(max(measure.ratios))})" if measure.baseline else ""
    ratio = f"{cut(measure.ratio)} {spread}" if measure.ratio is not None else ""
    met = {True: "[green]yes[/]", False: "[red]NO[/]", None: ""}[measure.met]
    ours = f"{cut(measure.value)} {measure.unit}"
    return [measure.name, ours, baseline, ratio, str(measure.goal or ""), met]


def machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    return {
        "cpu": model,
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "file_system": _file_system(),
    }


def _file_system() -> str:
    partitions = sorted(psutil.disk_partitions(all=True), key=lambda each: len(each.mountpoint))
    return next(each.fstype for each in reversed(partitions) if ROOT.is_relative_to(each.mountpoint))


def versions(world: "World") -> dict[str, Any]:
    installed = {each.metadata["Name"].lower(): each.version for each in distributions()}
    valkey = world.services.valkey.process.command[0]
    version = subprocess.run([valkey, "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    broker = world.services.kafka.process.name
    services = {"kafka": KAFKA_VERSION if broker == "Kafka" else broker, "valkey": version.stdout.strip()}
    return {"python": platform.python_version(), **services, **{name: installed[name] for name in PACKAGES}}


def commit() -> str:
    git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    return done.stdout.strip() or "unknown"


def save(path: Path, part: str, section: dict[str, Any]) -> None:
    """Replaces the part's section in the file of the day, and draws the chart beside it anew."""
    known = json.loads(path.read_text()) if path.is_file() else {"parts": {}}
    known["parts"][part] = section
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n")
    path.with_suffix(".svg").write_text(draw(known))


def result_path(folder: Path, *, quick: bool) -> Path:
    return folder / f"{datetime.now(UTC).date()}{'-quick' if quick else ''}.json"
