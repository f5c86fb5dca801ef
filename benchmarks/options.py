"""What a run may be told; `--quick` makes all of it small enough for a smoke test."""

import argparse
from pathlib import Path
from typing import NamedTuple

from todos.ingest.options import PollOptions

RESULTS = Path(__file__).parent / "results"


class Options(NamedTuple):
    rounds: int = 5
    seconds: float = 5.0
    warmup: float = 1.0
    connections: int = 128
    rows: int = 1_000_000
    growth_rows: int = 10_000_000
    growth_backlog: int = 200_000
    scaling_rows: int = 400_000
    latency_seconds: float = 600.0
    rate: float = 500.0
    max_records: int = PollOptions().max_records


QUICK = Options(
    rounds=2,
    seconds=2.0,
    rows=100_000,
    growth_rows=1_000_000,
    growth_backlog=50_000,
    scaling_rows=50_000,
    latency_seconds=60.0,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="small numbers: whether it runs, not how fast")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="default: benchmarks/results")
    for name, default in Options()._asdict().items():
        small = getattr(QUICK, name)
        text = f"default: {default:g}" + (f", quick {small:g}" if small != default else "")
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), help=text)


def options_of(arguments: argparse.Namespace) -> Options:
    chosen = {name: getattr(arguments, name) for name in Options._fields if getattr(arguments, name) is not None}
    return (QUICK if arguments.quick else Options())._replace(**chosen)
