"""`make simulate`: a rate of todos on the machines that the capacity model predicts, while a worker host dies."""

import argparse
import sys
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

import benchmarks.environment  # noqa: F401 - before the imports below
from benchmarks.capacity import costs
from benchmarks.capacity.plan import Wanted, plan
from benchmarks.capacity.simulation import Sample, Setting, Simulation
from benchmarks.options import RESULTS

PIPE_WIDTH = 120
SHOWN_EVERY = 5.0
LEAST_LAG = 1.0  # seconds' worth of todos; less counts as caught up


def setting_of(found: costs.Costs, wanted: Wanted, *, hosts: int) -> Setting:
    """Return what the capacity model predicts for this rate, on whole hosts."""
    needs = {need.name: need.amount for need in plan(found, wanted).needs}
    children = -(-int(needs["worker children"]) // hosts)
    return Setting(
        rate=wanted.todos_per_second,
        row=1 / found.drain.rate,
        database_row=found.drain.postgres,
        database_cores=wanted.primary_cores,
        small=found.drain.small,
        hop=found.drain.hop,
        edge_rate=needs["edge processes"] * (found.batch if wanted.batch else found.single).rate,
        partitions=int(needs["partitions"]),
        hosts=hosts,
        children=children,
        shards=int(needs["PostgreSQL primaries"]),
        every=needs["interval of each schedule"] / needs["schedules of the poll"],
        budget=needs["time budget of each schedule"],
    )


def main() -> None:
    arguments = _parser().parse_args()
    found = costs.read(arguments.results) if arguments.results else costs.newest(RESULTS)
    wanted = Wanted(arguments.rate, batch=not arguments.single, primary_cores=arguments.primary_cores)
    setting = setting_of(found.costs, wanted, hosts=arguments.hosts)
    changes = {name: getattr(arguments, name) for name in ("seconds", "skew", "fails_at", "back_at")}
    changes |= {"partitions": arguments.partitions} if arguments.partitions else {}
    setting = Setting(**vars(setting) | changes)
    samples = list(Simulation(setting).run())
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print(_about(setting), highlight=False)
    console.print(_table([sample for sample in samples if sample.at % SHOWN_EVERY == 0]))
    console.print(_verdict(setting, samples), highlight=False)


def _about(setting: Setting) -> str:
    return (
        f"{setting.rate:,.0f} todos a second, {setting.partitions} partitions, {setting.hosts} hosts with"
        f" {setting.children} worker children each, {setting.shards} PostgreSQL of {setting.database_cores:g} cores;"
        f" a tick each {setting.every:g} s, a time budget of {setting.budget:g} s"
    )


def _table(samples: list[Sample]) -> Table:
    table = Table(box=SIMPLE)
    for heading in ("second", "accepted", "stored", "lag", "delay, p50", "workers busy", "database busy"):
        table.add_column(heading, justify="right")
    for sample in samples:
        busy = f"{sample.workers_busy:.0%}", f"{sample.database_busy:.0%}"
        table.add_row(
            f"{sample.at:g}",
            f"{sample.accepted:,}",
            f"{sample.stored:,}",
            f"{sample.lag:,}",
            f"{sample.delay * 1e3:,.0f} ms",
            *busy,
        )
    return table


def _verdict(setting: Setting, samples: list[Sample]) -> str:
    worst = max(samples, key=lambda sample: sample.lag)
    last = samples[-1]
    behind = [sample.at for sample in samples if sample.lag > LEAST_LAG * setting.rate]
    caught_up = f"less than a second behind again after {behind[-1]:g} s" if behind else "never a second behind"
    if behind and behind[-1] == last.at:
        caught_up = "still behind at the end"
    return (
        f"largest lag {worst.lag:,} at {worst.at:g} s; {caught_up}; {last.accepted:,} = {last.stored:,} + {last.lag:,}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make simulate ARGS=...", description=__doc__)
    for name, default, text in (
        ("rate", 1e6, "todos a second"),
        ("seconds", 120.0, "to be simulated"),
        ("hosts", 6, "of workers"),
        ("primary_cores", 16, "of each PostgreSQL"),
        ("partitions", 0, "0: as many as the capacity model predicts"),
        ("skew", 0.0, "0: all partitions alike; 1: the second gets half of the first, the third a third"),
        ("fails_at", 30.0, "the second in which one host dies"),
        ("back_at", 60.0, "the second in which it is back"),
    ):
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(default), default=default, help=f"{text} (default: {default:g})")
    parser.add_argument("--single", action="store_true", help="one by one (default: in batches)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="default: the newest of benchmarks/results")
    return parser


if __name__ == "__main__":
    main()
