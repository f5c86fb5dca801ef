"""The table, the verdict, and the same as JSON."""

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import redis
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from devstack.jars import KAFKA_VERSION
from tests.chaos.campaign import Injection
from tests.chaos.evidence import Evidence
from tests.chaos.oracle import violations
from tests.chaos.probe import ProbeAnswer, unsaid_waits
from tests.chaos.world import World

EXAMPLES = 5
CALM, ALL = "(between faults)", "all"
PACKAGES = ("celery", "django", "fastapi", "kafka-python", "psycopg2-binary", "uvicorn")


@dataclass
class Line:
    """Counts of todos by the time of their acknowledgement, of duplicates by that of their record; seconds."""

    fault: str
    times: int = 0
    acknowledged: int = 0
    stored: int = 0
    duplicates_absorbed: int = 0
    lost: int = 0
    stored_twice: int = 0
    longest_stall: float = 0.0
    longest_recovery: float = 0.0  # until a new todo was stored
    longest_catch_up: float = 0.0  # until all older ones were too
    probe: str = ""  # the codes that the probe named while the fault was in effect, or until all was stored again


@dataclass
class Report:
    seed: int
    options: dict[str, Any]
    started: str
    seconds: float
    machine: str
    versions: dict[str, str]
    lines: list[Line]
    injections: list[Injection]
    skipped: dict[str, str]
    restarts: dict[str, int]
    unconfirmed: int
    dead_letters: int
    read_ahead: int
    violations: dict[str, list[str]]

    @property
    def is_exact(self) -> bool:
        return not self.violations

    def write(self, path: Path) -> None:
        injections = [injection._asdict() for injection in self.injections]
        shown = asdict(self) | {"injections": injections, "exact": self.is_exact}
        path.write_text(json.dumps(shown, indent=2) + "\n")


class _Table:
    """The lines, to be looked up by the fault of the moment."""

    def __init__(self, injections: Sequence[Injection]) -> None:
        self.injections = injections
        names = [*sorted({injection.fault for injection in injections}), CALM, ALL]
        self.lines = {name: Line(name) for name in names}

    def of(self, fault: str) -> tuple[Line, Line]:
        return self.lines[fault], self.lines[ALL]

    def at(self, moment: float) -> tuple[Line, Line]:
        during = (each.fault for each in self.injections if each.struck_at <= moment <= each.ended_at)
        return self.of(next(during, CALM))


def tabulate(evidence: Evidence, injections: Sequence[Injection]) -> list[Line]:
    table = _Table(injections)
    for injection in injections:
        for line in table.of(injection.fault):
            line.times += 1
            line.longest_recovery = max(line.longest_recovery, round(injection.recovery_seconds, 2))
            line.longest_catch_up = max(line.longest_catch_up, round(injection.catch_up_seconds, 2))
        line = table.lines[injection.fault]
        line.probe = join_codes([line.probe, *injection.said])
    for todo in evidence.journal.accepted.values():
        places = evidence.places[todo.id]
        for line in table.at(todo.at):
            line.acknowledged += 1
            line.stored += places > 0
            line.lost += places == 0
            line.stored_twice += places > 1
    for line in (line for record in evidence.duplicates() for line in table.at(record.at)):
        line.duplicates_absorbed += 1
    for stall in evidence.journal.stalls:
        for line in table.at(stall.end):
            line.longest_stall = max(line.longest_stall, round(stall.end - stall.start, 2))
    return list(table.lines.values())


def join_codes(texts: Iterable[str]) -> str:
    """Each of the codes in the texts once."""
    return " ".join(sorted({code for text in texts for code in text.split()}))


def findings(
    evidence: Evidence, injections: Sequence[Injection], answers: Sequence[ProbeAnswer]
) -> dict[str, list[str]]:
    others = {
        "fault not survived": [injection.problem for injection in injections if injection.problem],
        "probe not true": [text for injection in injections for text in injection.untrue],
        "probe ok while a todo waits": unsaid_waits(answers),
    }
    return violations(evidence) | {name: offenders for name, offenders in others.items() if offenders}


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.1f} GiB of memory, {platform.system()} on {platform.machine()}"


def versions(world: World) -> dict[str, str]:
    with redis.Redis.from_url(world.stack.redis_url) as client:
        valkey = str(client.info("server").get("valkey_version", "?"))
    ((postgres,),) = world.stack.rows("SHOW server_version")
    broker = world.services.kafka.process.name
    broker = f"Apache Kafka {KAFKA_VERSION}" if broker == "Kafka" else broker  # else the stand-in
    services = {"postgresql": str(postgres), "valkey": valkey, "broker": broker}
    own = {"python": platform.python_version(), "system": platform.platform()}
    return own | services | {package: version(package) for package in PACKAGES}


def show(report: Report, console: Console) -> None:
    table = Table(box=SIMPLE, title=f"seed {report.seed}, {report.seconds:.0f} s of faults")
    for heading in Line.__dataclass_fields__:
        is_text = heading in ("fault", "probe")
        table.add_column(
            heading.replace("_", " "),
            justify="left" if is_text else "right",
            overflow="fold" if is_text else "ellipsis",
            no_wrap=heading == "fault",
            min_width=24 if is_text else None,
        )
    for line in report.lines:
        table.add_section() if line.fault in (CALM, ALL) else None
        table.add_row(*(f"{value:.1f} s" if isinstance(value, float) else f"{value}" for value in vars(line).values()))
    console.print(table)
    for name, reason in report.skipped.items():
        console.print(f"not done: {name}: {reason}", highlight=False)
    console.print(
        f"{report.unconfirmed:,} POSTs were not confirmed; {report.dead_letters:,} dead letters;"
        f" behind {report.read_ahead:,} batches the next was read ahead;"
        f" restarted: {', '.join(f'{name} {count}' for name, count in report.restarts.items()) or 'nothing'}",
        highlight=False,
    )
    for name, offenders in report.violations.items():
        console.print(f"[red]{name}[/]: {len(offenders):,}", highlight=False)
        for offender in offenders[:EXAMPLES]:
            console.print(f"  {offender}", markup=False, highlight=False)
    console.print("[green]exact[/]" if report.is_exact else "[red]NOT exact[/]")
