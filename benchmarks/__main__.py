"""`make bench`: all parts, or some: `python -m benchmarks edge drain --quick`."""

import argparse
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psutil
from rich.console import Console

from benchmarks import drain, edge, growth, latency, report, scaling, tables
from benchmarks.measures import Measure
from benchmarks.options import Options, add_arguments, options_of
from benchmarks.world import NotReconciled, World, running_world
from devstack.interrupts import Interrupted, Interrupts
from devstack.process import ServiceError

PARTS: dict[str, Callable[[World, Options], tuple[list[Measure], str]]] = {
    "edge": edge.run,
    "drain": drain.run,
    "latency": latency.run,
    "growth": growth.run,
    "scaling": scaling.run,
    "tables": tables.run,
}

BUSY_PERCENT = 10


def main() -> int:
    arguments = _parser().parse_args()
    logging.disable()  # of this process: what its own clients complain of is counted, not told
    interrupts = Interrupts()
    interrupts.install()
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        parts = arguments.parts or list(PARTS)
        measures = {part: _run(part, arguments, console) for part in parts}
        if len(parts) > 1:
            report.show_all(measures, console)
    except Interrupted:
        console.print("interrupted: everything is stopped")
        return 130
    except (NotReconciled, ServiceError, RuntimeError) as exc:
        console.print(f"[red]FAILED[/] {type(exc).__name__}: {exc}", highlight=False)
        return 1
    finally:
        interrupts.ignore()
    return 0


def _run(part: str, arguments: argparse.Namespace, console: Console) -> list[Measure]:
    """Writes nothing when it does not reconcile."""
    options = options_of(arguments)
    busy = psutil.cpu_percent(interval=1)  # nothing of ours runs yet
    started = time.monotonic()
    with running_world() as world:
        measures, reconciled = PARTS[part](world, options)
        about = {
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": report.commit(),
            "seconds": round(time.monotonic() - started, 1),
            "options": options._asdict(),
            "reconciled": reconciled,
            "machine": report.machine() | {"cpu_percent_before": busy},
            "versions": report.versions(world),
            "postgresql": world.postgres_settings(),
        }
    report.show(part, measures, console)
    if busy > BUSY_PERCENT:
        console.print(f"  other programs took {busy:.0f} % of the machine before: measure again when it is quiet")
    console.print(f"  reconciled: {reconciled}", highlight=False)
    path = report.result_path(arguments.results, quick=arguments.quick)
    report.save(path, part, about | {"measures": [measure.as_json() for measure in measures]})
    console.print(f"  written: {path}", highlight=False)
    return measures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    add_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
