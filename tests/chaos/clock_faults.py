"""Beats whose clock is wrong: what they leave in the database, and the ticks that they send, carry their time."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from tests.chaos.world import BEATS, World
from tests.support.waiting import eventually

SHIFT_SECONDS = 3600.0  # ticks of an hour ago have expired; what was written an hour ahead is not due for an hour
FLOW_SECONDS = 60.0


def shifted(sign: int) -> Callable[[World], AbstractContextManager[None]]:
    """Both beats run `sign` times SHIFT_SECONDS ahead, until their clocks are right and they start again."""

    @contextmanager
    def strike(world: World) -> Iterator[None]:
        clock = world.points / "clock"
        clock.write_text(f"{sign * SHIFT_SECONDS}")
        try:
            _restart_beats(world)
            started_at = time.time()
            eventually(
                lambda: world.journal.first_visible(started_at), seconds=FLOW_SECONDS, what="todos under a wrong clock"
            )
            yield
        finally:
            clock.unlink()
            _restart_beats(world)

    return strike


def _restart_beats(world: World) -> None:
    with ExitStack() as down:
        for name in BEATS:
            down.enter_context(world.supervisor.kept_down(name))
            world.stack.processes[name].stop()
