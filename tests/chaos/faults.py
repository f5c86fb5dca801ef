"""The faults. Each is a context manager: entering it strikes, leaving it repairs what a process manager or an
operator would repair. Meanwhile it is held for a random time from the range in `hold_seconds`."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import NamedTuple

import psutil

from tests.chaos import clock_faults, database_faults, kafka_faults, record_faults, redis_faults
from tests.chaos.world import World, running, why_no_disk, why_no_java
from tests.support.waiting import eventually

STOP_SECONDS = 40.0
# A running poll stores every quarter of a second under load; a dead poll's partitions are free after 15 s.
POINT_SECONDS = 60.0
# A new leader: the broker's session of 3 s, sometimes a new controller first; all in a noisy machine.
ONE_BROKER_SECONDS = 60.0
# Longer than a lease and than the edge's time-outs, but not always.
FREEZE_SECONDS = (3.0, 18.0)

# Long enough for what probe, page and command say to be judged.
JUDGED_SECONDS = (25.0, 35.0)

# Needs three brokers; all other faults of the run then strike at the three together.
KILL_ONE_OF_THREE = "kill-one-of-three"

Strike = Callable[[World], AbstractContextManager[None]]


class Fault(NamedTuple):
    """`codes`: the problem that the probe must name while the fault is in effect, one of them at least.

    It must not be ok meanwhile, unless the fault `stops` nothing.
    """

    name: str
    strike: Strike
    hold_seconds: tuple[float, float] = (0.0, 0.0)
    why_not: Callable[[], str | None] = lambda: None  # the reason, where this machine cannot do it
    codes: frozenset[str] = frozenset()
    stops: bool = True


def _end_program(kind: str, *, kill: bool) -> Strike:
    @contextmanager
    def strike(world: World) -> Iterator[None]:
        process = world.process(kind)
        program = running(process)
        with world.supervisor.kept_down(process.name):
            if kill:
                program.kill()  # alone: its children are left to themselves
                process.wait(STOP_SECONDS)
            else:
                process.stop(seconds=STOP_SECONDS)
            yield

    return strike


def _end_service(kind: str, *, kill: bool) -> Strike:
    @contextmanager
    def strike(world: World) -> Iterator[None]:
        service = world.service(kind)
        if kill:
            service.kill()
        else:
            service.stop()
        yield
        service.start()

    return strike


@contextmanager
def _kill_one_of_three(world: World) -> Iterator[None]:
    """The other two go on: before the third is back, todos are acknowledged and stored."""
    broker = world.rng.choice(world.nodes())
    broker.kill()
    killed_at = time.time()
    try:
        eventually(lambda: world.journal.first_visible(killed_at), seconds=ONE_BROKER_SECONDS, what="todos to go on")
        yield
    finally:
        broker.start()


def _freeze_service(kind: str) -> Strike:
    @contextmanager
    def strike(world: World) -> Iterator[None]:
        service = world.service(kind)
        service.pause()
        try:
            yield
        finally:
            service.resume()

    return strike


def _freeze_program(kind: str) -> Strike:
    return _freeze_process(lambda world: world.program(kind))


def _freeze_process(victim: Callable[[World], psutil.Process]) -> Strike:
    @contextmanager
    def strike(world: World) -> Iterator[None]:
        process = victim(world)
        process.suspend()
        try:
            yield
        finally:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    return strike


def _signal_child(signum: signal.Signals) -> Strike:
    """Its parent starts another one."""

    @contextmanager
    def strike(world: World) -> Iterator[None]:
        world.worker_child().send_signal(signum)
        yield

    return strike


def _strike_at(point: str, signum: signal.Signals) -> Strike:
    """A worker sends itself the signal exactly there: see tests.chaos.faulty_worker."""

    @contextmanager
    def strike(world: World) -> Iterator[None]:
        order = world.points / f"{signum.name}-{point}"
        order.touch()
        (done,) = eventually(
            lambda: list(world.points.glob(f"{order.name}.*")),
            seconds=POINT_SECONDS,
            what=f"a worker to get to {point}",
        )
        done.unlink()
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(int(done.suffix[1:]), signal.SIGCONT)

    return strike


def _all() -> Iterator[Fault]:
    for kind in ("edge", "worker", "beat"):
        yield Fault(f"kill-{kind}", _end_program(kind, kill=True), (0.0, 3.0))
        yield Fault(f"term-{kind}", _end_program(kind, kill=False), (0.0, 3.0))
        yield Fault(f"freeze-{kind}", _freeze_program(kind), FREEZE_SECONDS)
    yield Fault("kill-child", _signal_child(signal.SIGKILL))
    yield Fault("term-child", _signal_child(signal.SIGTERM))
    yield Fault("freeze-child", _freeze_process(World.worker_child), FREEZE_SECONDS)
    for kind, code in (("broker", "kafka"), ("postgres", "database"), ("valkey", "redis")):
        codes = frozenset({f"{code}-unavailable"})
        yield Fault(f"kill-{kind}", _end_service(kind, kill=True), (0.0, 8.0), codes=codes)
        yield Fault(f"stop-{kind}", _end_service(kind, kill=False), (0.0, 8.0), codes=codes)
        yield Fault(f"freeze-{kind}", _freeze_service(kind), FREEZE_SECONDS, codes=codes)
    yield Fault(KILL_ONE_OF_THREE, _kill_one_of_three, (0.0, 8.0), why_no_java)
    for point in ("before-insert", "before-commit", "after-commit"):
        yield Fault(f"crash-{point}", _strike_at(point, signal.SIGKILL))
    # Past a lease, so that another worker goes on: the compare-and-swap has to stop the first one.
    yield Fault("freeze-before-move", _strike_at("before-move", signal.SIGSTOP), (17.0, 25.0))
    # Sometimes past idle_in_transaction_session_timeout.
    yield Fault("freeze-before-commit", _strike_at("before-commit", signal.SIGSTOP), (5.0, 35.0))
    yield from _database_faults()
    yield from _log_and_queue_faults()


def _database_faults() -> Iterator[Fault]:
    down, refuses = frozenset({"database-unavailable"}), frozenset({"database-refuses-writes", "store-failing"})
    locked = frozenset({"table-locked", "store-failing"})
    yield Fault("immediate-postgres", database_faults.immediate_shutdown, (0.0, 5.0), codes=down)
    yield Fault("terminate-sessions", database_faults.terminate_sessions)
    yield Fault("slow-database", database_faults.slow, (5.0, 10.0))
    yield Fault("locked-table", database_faults.locked, (3.0, 12.0), codes=locked)
    yield Fault("locked-table-60s", database_faults.locked, (60.0, 60.0), codes=locked)
    yield Fault("held-row", database_faults.held_row, JUDGED_SECONDS, codes=frozenset({"row-held"}))
    yield Fault("readonly-postgres", database_faults.read_only, JUDGED_SECONDS, codes=frozenset({"database-read-only"}))
    yield Fault("restore", database_faults.restore, (0.0, 5.0), codes=down)
    yield Fault("full-disk", database_faults.full_disk, (3.0, 10.0), why_no_disk, codes=refuses)


def _log_and_queue_faults() -> Iterator[Fault]:
    yield Fault("duplicates", record_faults.duplicates)
    yield Fault("conflicts", record_faults.conflicts)
    yield Fault("poison", record_faults.poison)
    yield Fault("more-partitions", record_faults.more_partitions)
    diverged, waits = frozenset({"log-diverged"}), frozenset({"open-transaction"})
    yield Fault("older-kafka-log", kafka_faults.older_log, JUDGED_SECONDS, why_no_java, codes=diverged)
    yield Fault("open-transaction", kafka_faults.open_transaction, JUDGED_SECONDS, why_no_java, codes=waits)
    yield Fault("flush-valkey", redis_faults.flush)
    yield Fault("replica-redis", redis_faults.replica, JUDGED_SECONDS, codes=frozenset({"redis-read-only"}))
    yield Fault("poison-queue", redis_faults.poison_queue, (2.0, 5.0))
    paused = frozenset({"paused-with-backlog", "polling-paused"})
    yield Fault("queue-flood", redis_faults.queue_flood, JUDGED_SECONDS, codes=paused)
    for name, sign in (("clock-ahead", +1), ("clock-behind", -1)):
        yield Fault(name, clock_faults.shifted(sign), JUDGED_SECONDS, codes=frozenset({name}), stops=False)


FAULTS = {fault.name: fault for fault in _all()}
