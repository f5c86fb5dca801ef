"""Several reports of runs, as JSON, become one Markdown table: counts are summed, times are the longest."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from tests.chaos.report import ALL, CALM, Line, join_codes

Report = dict[str, Any]
COLUMNS = [name for name in Line.__dataclass_fields__ if name != "longest_catch_up"]
SECONDS = {name for name, kind in get_type_hints(Line).items() if kind is float}


def markdown(files: Iterable[Path]) -> str:
    reports = [json.loads(file.read_text()) for file in files]
    return "\n".join([*_table(reports), "", *_settings(reports), _verdict(reports)])


def _table(reports: Sequence[Report]) -> Iterator[str]:
    lines = [line for report in reports for line in report["lines"]]
    faults = sorted({line["fault"] for line in lines} - {CALM, ALL})
    yield _row(name.replace("_", " ") for name in COLUMNS)
    yield _row("---" if name in ("fault", "probe") else "---:" for name in COLUMNS)
    for fault in [*faults, CALM, ALL]:
        mine = [line for line in lines if line["fault"] == fault]
        totals = (_total(name, [line[name] for line in mine]) for name in COLUMNS[1:-1])
        yield _row([fault, *totals, join_codes(line.get("probe", "") for line in mine)])


def _total(name: str, values: Sequence[float]) -> str:
    return f"{max(values):.1f} s" if name in SECONDS else f"{sum(values):,}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _settings(reports: Sequence[Report]) -> Iterator[str]:
    """One line, or several where runs were made on different days, machines or versions."""
    seeds: dict[str, list[str]] = {}
    for report in reports:
        seeds.setdefault(_setting(report), []).append(str(report["seed"]))
    for setting, names in seeds.items():
        yield f"{'Seed' if len(names) == 1 else 'Seeds'} {', '.join(names)}: {setting}."


def _setting(report: Report) -> str:
    versions, options = report["versions"], report["options"]
    hold = f", each held for {options['hold']:g} s" if options.get("hold") else ""
    brokers = f"{options['brokers']} brokers of {versions['broker']}" if options.get("brokers", 1) > 1 else ""
    parts = [
        f"faults for {options['seconds']:g} s{hold}, {options['rate']:g} POSTs a second at most",
        report["started"][:10],
        report.get("machine", versions["system"]),
        f"Python {versions['python']}",
        f"PostgreSQL {versions['postgresql'].split()[0]}",
        brokers or versions["broker"],
        f"Valkey {versions['valkey']}",
    ]
    return "; ".join(parts)


def _verdict(reports: Sequence[Report]) -> str:
    counts = ("unconfirmed", "dead_letters", "read_ahead")
    unconfirmed, letters, ahead = (sum(report.get(name, 0) for report in reports) for name in counts)
    inexact = [str(report["seed"]) for report in reports if not report["exact"]]
    verdict = f"NOT exact: seed {', '.join(inexact)}" if inexact else "every run was exact"
    return (
        f"{unconfirmed:,} POSTs were not confirmed; {letters:,} dead letters; {ahead:,} batches read ahead; {verdict}."
    )
