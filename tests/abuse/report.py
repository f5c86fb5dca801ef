"""One row per attack and port: for people as a table, and as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.abuse.healthy import KINDS, Sample, latency
from tests.abuse.judge import MIB, Row

NUMBERS = ("p50 ms", "p99 ms", "ratio", "MiB", "open")


def show(rows: Sequence[Row], console: Console) -> None:
    table = Table(
        box=SIMPLE,
        caption="What healthy clients of the port waited, before → meanwhile; memory before/peak/after",
    )
    for heading in ("attack", "port", "sent", *NUMBERS, "verdict"):
        table.add_column(heading, justify="right" if heading in NUMBERS else "left", overflow="fold")
    for row in rows:
        before, meanwhile = (
            latency(sample for sample in samples if sample.kind.side == row.side)
            for samples in (row.before, row.meanwhile)
        )
        memory = "/".join(f"{size // MIB}" for size in (row.memory_before, row.memory_peak, row.memory_after))
        table.add_row(
            row.attack,
            row.side,
            row.sends,
            f"{before.p50 * 1000:.0f} → {meanwhile.p50 * 1000:.0f}",
            f"{before.p99 * 1000:.0f} → {meanwhile.p99 * 1000:.0f}",
            f"{meanwhile.p99 / before.p99:.1f}" if before.p99 else "",
            memory,
            f"{row.connections_left}",
            "[red]red[/]" if row.reasons(timed=True) else "[green]green[/]",
        )
    console.print(table)
    for row in rows:
        for reason in row.reasons(timed=True):
            console.print(f"{row.attack} ({row.side}): {reason}", style="red", markup=False, highlight=False)


def as_json(rows: Sequence[Row], options: dict[str, Any]) -> str:
    return json.dumps({"options": options, "rows": [_document(row) for row in rows]}, indent=2) + "\n"


def _document(row: Row) -> dict[str, Any]:
    reasons = row.reasons(timed=True)
    return {
        "attack": row.attack,
        "port": row.side,
        "sent": row.sends,
        "verdict": "red" if reasons else "green",
        "reasons": reasons,
        "answers": row.statuses,
        "healthy_before": _latencies(row.before),
        "healthy_meanwhile": _latencies(row.meanwhile),
        "memory_bytes": {"before": row.memory_before, "peak": row.memory_peak, "after": row.memory_after},
        "connections_left": row.connections_left,
    }


def _latencies(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return the number, p50 and p99 of all requests and of each kind."""
    kinds = {f"{kind.name} ({kind.side})": [sample for sample in samples if sample.kind == kind] for kind in KINDS}
    return {name: latency(mine)._asdict() for name, mine in ({"all": list(samples)} | kinds).items()}


def write(rows: Sequence[Row], options: dict[str, Any], path: Path) -> None:
    path.write_text(as_json(rows, options))
