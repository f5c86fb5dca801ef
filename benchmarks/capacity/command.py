"""`make capacity`: what a rate of todos needs (processes, partitions, connections, disk), and what breaks first."""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.capacity import costs
from benchmarks.capacity.costs import Results
from benchmarks.capacity.plan import Plan, Wanted, plan
from benchmarks.options import RESULTS
from todos.cli.arguments import positive, whole_number

PIPE_WIDTH = 160
DEFAULTS = Wanted(0)
EXAMPLES = """
examples:
  make capacity ARGS="--todos-per-second 5000"
  make capacity ARGS="--todos-per-second 1000000 --batch --retention-hours 24 --keep-days 7"
  make --silent capacity ARGS="--todos-per-second 20000 --json" | jq .needs

Neither Kafka nor the database is used. The costs are those that make bench-scaling measured on one machine: measure
on yours. docs/scaling.md says what the model can predict and what it cannot.

exit code: 0 done; 1 there are no costs, or the file lacks some; 2 wrong usage

--json: results, measured, machine, wanted; needs: objects with name, amount, unit and how; limits: objects with at
(todos a second), name and then, the lowest first.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan. Exits with 1 and a message where there are no costs."""
    options = parser().parse_args(arguments)
    wanted = Wanted(**{name: getattr(options, name) for name in Wanted._fields})
    try:
        results = costs.read(options.results) if options.results else costs.newest(RESULTS)
    except costs.NoCosts as exc:
        sys.exit(str(exc))
    found = plan(results.costs, wanted)
    if options.as_json:
        print(json.dumps(as_json(results, wanted, found), indent=2))
    else:
        show(results, wanted, found)


def parser() -> ArgumentParser:
    found = ArgumentParser(
        prog="make capacity ARGS=...",
        description=__doc__,
        epilog=EXAMPLES.strip(),
        formatter_class=RawDescriptionHelpFormatter,
    )
    found.add_argument("--todos-per-second", type=positive, required=True, metavar="N")
    found.add_argument("--batch", action="store_true", help="through POST /new/batch/ (default: one by one)")
    for name, kind, text in (
        ("retention_hours", positive, "how long Kafka keeps records"),
        ("keep_days", positive, "how long PostgreSQL keeps todos"),
        ("replication", whole_number, "copies of each record, on as many brokers"),
        ("utilisation", _share, "how busy a process or core may be, above 0 and at most 1"),
        ("primary_cores", whole_number, "of one PostgreSQL primary"),
        ("primary_disk", positive, "MB/s that one primary can write"),
    ):
        default = getattr(DEFAULTS, name)
        option = f"--{name.replace('_', '-')}"
        found.add_argument(option, type=kind, default=default, metavar="N", help=f"{text} (default: {default:g})")
    found.add_argument("--results", type=Path, metavar="FILE", help="default: the newest of benchmarks/results")
    found.add_argument("--json", action="store_true", dest="as_json", help="for scripts; the keys are below")
    return found


def _share(text: str) -> float:
    if (value := positive(text)) > 1:
        raise ArgumentTypeError("must be above 0 and at most 1")
    return value


def as_json(results: Results, wanted: Wanted, found: Plan) -> dict[str, Any]:
    return {
        "results": str(results.path),
        "measured": results.measured,
        "machine": results.machine,
        "wanted": wanted._asdict(),
        "needs": [need._asdict() for need in found.needs],
        "limits": [limit._asdict() for limit in found.limits],
    }


def show(results: Results, wanted: Wanted, found: Plan) -> None:
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    how = "in batches" if wanted.batch else "one by one"
    needs = Table("needs", box=SIMPLE, title=f"{wanted.todos_per_second:,.0f} todos a second, {how}")
    needs.add_column("", justify="right")
    needs.add_column("formula")
    for need in found.needs:
        needs.add_row(need.name, f"{_number(need.amount)} {need.unit}".strip(), need.how)
    limits = Table(box=SIMPLE, title="what breaks first, with the defaults of this repository")
    limits.add_column("todos a second", justify="right")
    for heading in ("limit", "then", ""):
        limits.add_column(heading)
    for limit in found.limits:
        is_exceeded = wanted.todos_per_second > limit.at
        limits.add_row(_number(limit.at), limit.name, limit.then, "beyond it" if is_exceeded else "")
    console.print(needs)
    console.print(limits)
    console.print(f"Costs: {results.path.name}, measured {results.measured} on {results.machine}.", highlight=False)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.2g}"
