"""`make chaos`: break the pipeline in every known way under load, and count afterwards."""

import argparse
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pytest_django import DjangoDbBlocker
from rich.console import Console

import tests.support.environment  # noqa: F401 - Django's settings, before the imports below need them
from devstack.interrupts import Interrupted, Interrupts
from devstack.process import ServiceError
from tests.chaos.campaign import drain, run_faults
from tests.chaos.faults import FAULTS, KILL_ONE_OF_THREE, Fault
from tests.chaos.progress import Ticker
from tests.chaos.report import Report, findings, machine, show, tabulate, versions
from tests.chaos.table import markdown
from tests.chaos.world import BROKEN, own_services, running_world, why_no_java
from todos.cli.arguments import positive

# The longest way back: a lease of 15 s, a session frozen in its transaction for 30 s, reconnects, the backlog.
PATIENCE = 120.0


def main() -> int:
    parser = _parser()
    options = parser.parse_args()
    if options.table:
        print(markdown(options.table))
        return 0
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}")
    logging.disable()  # of this process: its clients' complaints are what it counts
    interrupts = Interrupts()
    interrupts.install()
    console = Console(width=None if sys.stdout.isatty() else 160)
    folder = Path(tempfile.mkdtemp(prefix="todo-chaos-"))
    keep = False
    try:
        report = _run(options, folder, console)
        keep = not report.is_exact
    except Interrupted:
        console.print("interrupted: everything is stopped, nothing was reconciled")
        return 130
    except ServiceError as exc:
        console.print(f"{exc}", markup=False)
        return 2
    finally:
        interrupts.ignore()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    show(report, console)
    if options.json:
        report.write(options.json)
    if keep:
        console.print(f"all logs: {folder}", highlight=False)
    return int(not report.is_exact)


def _run(options: argparse.Namespace, folder: Path, console: Console) -> Report:
    faults, skipped = _possible(options.faults, options.brokers)
    if options.hold is not None:
        faults = [fault._replace(hold_seconds=(options.hold, options.hold)) for fault in faults]
    started = time.time()
    console.print(
        f"seed {options.seed}; {len(faults)} faults, {options.seconds:g} s, {options.rate:g} POSTs a second,"
        f" {options.brokers} brokers"
    )
    for name, reason in skipped.items():
        console.print(f"not done here: {name}: {reason}", highlight=False)
    blocker = DjangoDbBlocker(_ispytest=True)
    wants_disk = any(fault.name == "full-disk" for fault in faults)
    with (
        Ticker(console, options.seconds) as ticker,
        own_services(folder, blocker, brokers=options.brokers) as (services, template),
        running_world(
            services,
            template,
            folder,
            blocker,
            seed=options.seed,
            rate=options.rate,
            env=BROKEN if options.broken else {},
            wants_disk=wants_disk,
        ) as world,
    ):
        ticker.watch(world.journal)
        injections = list(
            run_faults(
                world,
                faults,
                seed=options.seed,
                seconds=options.seconds,
                patience=options.patience,
                tell=ticker.tell,
                done=ticker.done,
            )
        )
        ticker.tell("draining and counting")
        evidence = drain(world)
        return Report(
            seed=options.seed,
            options={
                "seconds": options.seconds,
                "rate": options.rate,
                "hold": options.hold,
                "brokers": options.brokers,
                "faults": [fault.name for fault in faults],
            },
            started=datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
            seconds=round(time.time() - started, 1),
            machine=machine(),
            versions=versions(world),
            lines=tabulate(evidence, injections),
            injections=injections,
            skipped=skipped,
            restarts=dict(world.supervisor.restarts),
            unconfirmed=len(world.journal.unconfirmed),
            dead_letters=len(evidence.letters),
            read_ahead=evidence.read_ahead,
            violations=findings(evidence, injections, world.probe.answers),
        )


def _possible(chosen: Sequence[Fault], brokers: int) -> tuple[list[Fault], dict[str, str]]:
    """Those that this run can do, and the reasons of the others."""
    reasons = {fault.name: reason for fault in chosen if (reason := fault.why_not())}
    if brokers < 3:
        reasons |= {fault.name: "needs --brokers 3" for fault in chosen if fault.name == KILL_ONE_OF_THREE}
    possible = [fault for fault in chosen if fault.name not in reasons]
    if not possible:
        raise ServiceError("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
    return possible, reasons


def _faults(text: str) -> list[Fault]:
    names = list(FAULTS) if text == "all" else text.split(",")
    if unknown := [name for name in names if name not in FAULTS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: unknown; there are {', '.join(FAULTS)}")
    return [FAULTS[name] for name in names]


def _report(text: str) -> Path:
    if not (path := Path(text)).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="default: random, and printed")
    parser.add_argument("--seconds", type=positive, default=600.0, help="start faults for this long; default: 600")
    parser.add_argument("--rate", type=positive, default=50.0, help="POSTs per second; default: 50")
    parser.add_argument("--hold", type=positive, metavar="SECONDS", help="hold each fault so long; default: random")
    parser.add_argument("--patience", type=positive, default=PATIENCE, help=f"seconds to recover; default: {PATIENCE}")
    parser.add_argument(
        "--brokers", type=int, choices=(1, 3), default=1 if why_no_java() else 3, help="each todo is on two of three"
    )
    parser.add_argument("--faults", type=_faults, default="all", help=f"default: all; of {','.join(FAULTS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
    parser.add_argument("--table", type=_report, nargs="+", metavar="FILE", help="only print such reports as one table")
    parser.add_argument("--broken", action="store_true", help="move the ledger outside the transaction: must fail")
    return parser


if __name__ == "__main__":
    sys.exit(main())
