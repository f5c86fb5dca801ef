"""The run: faults one after the other under load, each until the pipeline has caught up, then the reconciliation."""

import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import psycopg2

from tests.chaos.evidence import Evidence, gather
from tests.chaos.faults import Fault
from tests.chaos.probe import codes_said, problem_codes, untrue_answers
from tests.chaos.world import World
from tests.support.waiting import eventually
from todos.event_log import LogUnavailable

CALM_SECONDS = (0.5, 2.0)
START_SECONDS = 60.0
DRAIN_SECONDS = 180.0
# What probe, page and command say is judged from then on, if the fault is held for some time longer.
GRACE_SECONDS, JUDGED_SECONDS = 15.0, 10.0
CLEAR_SECONDS = 60.0


class Injection(NamedTuple):
    """One strike; times in seconds since 1970. `visible_at`: the first todo accepted after the repair is stored.

    `ended_at`: everything accepted before the repair is stored too, or the time for that is over: see `problem`.
    `said` are the codes that the probe named until then; `untrue` is what it, the page or `pipeline_status` got wrong.
    """

    fault: str
    struck_at: float
    repaired_at: float
    visible_at: float | None
    ended_at: float
    problem: str | None
    said: list[str]
    untrue: list[str]

    @property
    def recovery_seconds(self) -> float:
        return (self.visible_at or self.ended_at) - self.repaired_at

    @property
    def catch_up_seconds(self) -> float:
        return self.ended_at - self.repaired_at


def run_faults(
    world: World,
    faults: Sequence[Fault],
    *,
    seed: int,
    seconds: float,
    patience: float,
    tell: Callable[[str], None],
    done: Callable[[Injection], None],
) -> Generator[Injection, None, None]:
    """Yields each injection as it ends. The last fault starts before `seconds` are over.

    What has not caught up `patience` seconds after a repair counts as not survived.
    """
    with world.load:
        tell("waiting for the first todo")
        eventually(lambda: world.journal.first_visible(0), seconds=START_SECONDS, what="the first todo")
        deadline = time.monotonic() + seconds
        for number, fault in enumerate(_sequence(faults, seed)):
            world.rng = random.Random(f"{seed}/{number}")
            if time.monotonic() > deadline:
                break
            tell(fault.name)
            injection = _inject(world, fault, patience, tell)
            done(injection)
            yield injection
            time.sleep(world.rng.uniform(*CALM_SECONDS))


def _sequence(faults: Sequence[Fault], seed: int) -> Iterator[Fault]:
    """Each fault once, in random order; then again in another order, and so on."""
    rng = random.Random(seed)
    while True:
        yield from rng.sample(faults, len(faults))


def _inject(world: World, fault: Fault, patience: float, tell: Callable[[str], None]) -> Injection:
    struck_at = repaired_at = time.time()
    known, untrue = world.probe.codes(), list[str]()
    try:
        with fault.strike(world):
            hold = world.rng.uniform(*fault.hold_seconds)
            tell(f"{fault.name}, held for {hold:.0f} s")
            untrue += _hold(world, fault, hold)
            repaired_at = time.time()
        tell(f"{fault.name}, recovering")
        eventually(
            lambda: world.journal.first_visible(repaired_at) and world.journal.is_caught_up(repaired_at),
            seconds=patience,
            what="the pipeline to catch up",
        )
    except AssertionError as exc:  # not struck, or not recovered
        problem: str | None = f"{fault.name}: {exc}"
    else:
        problem = None
    visible_at, ended_at = world.journal.first_visible(repaired_at), time.time()
    said = codes_said(world.probe.answers, struck_at, ended_at)
    with suppress(AssertionError):
        eventually(
            lambda: world.probe.is_clear(repaired_at, known, fault.codes),
            seconds=min(CLEAR_SECONDS, patience),
            what="ok",
        )
    if not world.probe.is_clear(repaired_at, known, fault.codes):
        untrue.append(f"the probe still named {', '.join(sorted(world.probe.codes())) or 'nothing'} when it was over")
    untrue = [f"{fault.name}: {text}" for text in untrue]
    return Injection(fault.name, struck_at, repaired_at, visible_at, ended_at, problem, said, untrue)


def _hold(world: World, fault: Fault, seconds: float) -> list[str]:
    """Hold the fault, and judge what is said of it if that is long enough. Returns what is not true."""
    held_at = time.time()
    untrue: list[str] = []
    if is_judged := bool(fault.codes) and seconds >= GRACE_SECONDS + JUDGED_SECONDS:
        time.sleep(GRACE_SECONDS)
        said = problem_codes(world.status(), "diagnosis")
        if not said & fault.codes:
            untrue.append(f"pipeline_status named {', '.join(sorted(said)) or 'nothing'}")
        page = world.page()
        if not any(code in page for code in fault.codes):
            untrue.append("the page did not name it")
    time.sleep(max(held_at + seconds - time.time(), 0))
    if is_judged:
        start, answers = held_at + GRACE_SECONDS, world.probe.answers
        untrue += untrue_answers(answers, fault.codes, start, time.time(), may_be_ok=not fault.stops)
    return untrue


def drain(world: World) -> Evidence:
    """Everything that Kafka still gets has got there, and is stored, or the time is up: the oracle will say."""

    def is_drained() -> bool:
        try:
            return world.stack.ledger() == world.stack.end_offsets()
        except (LogUnavailable, psycopg2.Error):
            return False

    world.supervisor.keep_down("edge")
    world.stack.processes["edge"].stop()  # its producer may still hold records of POSTs that it gave up
    with suppress(AssertionError):
        eventually(is_drained, seconds=DRAIN_SECONDS, what="the ledger to reach the end of the topic")
    return gather(world.stack, world.journal)
