"""`make abuse`: attack the edge and the web process in every known way, and see whether other clients notice."""

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pytest_django import DjangoDbBlocker
from rich.console import Console

import tests.support.environment  # noqa: F401 - Django's settings, before the imports below need them
from devstack.interrupts import Interrupted, Interrupts
from devstack.process import ServiceError
from tests.abuse.assault import Attack, strike
from tests.abuse.catalogue import ATTACKS
from tests.abuse.judge import Row
from tests.abuse.report import show, write
from tests.abuse.world import Side, own_services, running_world
from todos.cli.arguments import positive


def main() -> int:
    parser = _parser()
    options = parser.parse_args()
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}")
    logging.disable()  # of this process
    interrupts = Interrupts()
    interrupts.install()
    console = Console(width=None if sys.stdout.isatty() else 160)
    folder = Path(tempfile.mkdtemp(prefix="todo-abuse-"))
    rows: list[Row] = []
    try:
        for row in _run(options, folder, console):
            rows.append(row)
            verdict = "; ".join(row.reasons(timed=True))
            console.print(f"{row.attack} ({row.side}): {verdict or 'green'}", markup=False, highlight=False)
    except Interrupted:
        console.print("interrupted: everything is stopped")
        return 130
    except ServiceError as exc:
        console.print(f"{exc}", markup=False)
        return 2
    finally:
        interrupts.ignore()
        shutil.rmtree(folder, ignore_errors=True)
    show(rows, console)
    if options.json:
        told = {"seed": options.seed, "seconds": options.seconds, "proxy": options.proxy}
        write(rows, told, options.json)
    return int(any(row.reasons(timed=True) for row in rows))


def _run(options: argparse.Namespace, folder: Path, console: Console) -> Iterator[Row]:
    where = "behind HAProxy" if options.proxy else "without a proxy"
    console.print(f"seed {options.seed}, {options.seconds:g} s, {where}; starting services and programs")
    blocker = DjangoDbBlocker(_ispytest=True)
    with (
        own_services(folder, blocker) as (services, template),
        running_world(services, template, folder, blocker, proxied=options.proxy) as world,
    ):
        for attack in options.attacks:
            if attack.needs_proxy and not options.proxy:
                continue
            for side in (side for side in attack.sides if side in options.ports):
                row = asyncio.run(strike(world, attack, side, seconds=options.seconds, seed=options.seed))
                yield row
                if row.reasons(timed=True):
                    world.targets[side].restart()


def _attacks(text: str) -> list[Attack]:
    names = list(ATTACKS) if text == "all" else text.split(",")
    if unknown := [name for name in names if name not in ATTACKS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: unknown; there are {', '.join(ATTACKS)}")
    return [ATTACKS[name] for name in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make abuse", description=__doc__)
    parser.add_argument("--attacks", type=_attacks, default="all", help=f"default: all; of {','.join(ATTACKS)}")
    parser.add_argument("--ports", nargs="+", choices=get_args(Side), default=get_args(Side), help="default: both")
    parser.add_argument("--seconds", type=positive, default=10.0, help="of each flood or hold; default: 10")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="default: random, and printed")
    parser.add_argument("--proxy", action="store_true", help="attack through HAProxy with docker/k8s/haproxy.cfg")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
