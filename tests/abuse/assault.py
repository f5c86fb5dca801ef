"""One attack on its way: its connections, what it found, and what the service and its other clients suffered."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.abuse import healthy
from tests.abuse.healthy import Healthy
from tests.abuse.judge import FREE_SECONDS, Row
from tests.abuse.wire import Answer, Wire
from tests.abuse.world import Person, Side, Target, World
from tests.support.background import Background
from tests.support.waiting import Stopwatch

LATE_SECONDS = 0.2
CALM_SECONDS = 3.0


class Memory(Background):
    """Samples the memory of the attacked process until it leaves its `with` block."""

    every_seconds = 0.1

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self.before = self.peak = target.memory()

    def start_again(self) -> None:
        """Forget what was before now: it is not the attack's."""
        self.before = self.peak = self._target.memory()

    def step(self) -> None:
        self.peak = max(self.peak, self._target.memory())


class Assault:
    """What an attack works with. Its connections stay open until the `with` block ends."""

    def __init__(self, world: World, target: Target, *, seconds: float, seed: str) -> None:
        """`seconds` is how long a flood lasts, and a hold before the server has FREE_SECONDS to end it."""
        self.world, self.target, self.seconds, self.rng = world, target, seconds, random.Random(seed)
        self.address, self.memory = self.new_address(), Memory(target)
        self.statuses: Counter[int] = Counter()  # 0 where no answer came
        self.problems: list[str] = []
        self._wires: list[Wire] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in self._wires:
            wire.close()

    def new_address(self) -> str:
        """Return a loopback address of an attacker: to the limits per address it is one client."""
        return f"127.{self.rng.randint(10, 250)}.{self.rng.randint(0, 250)}.{self.rng.randint(1, 250)}"

    async def new_person(self, todos: int = 0, *, title: str = "todo", description: str = "") -> Person:
        """Create a user, with so many todos of this content."""
        name = f"user-{self.rng.getrandbits(64):x}"
        return await asyncio.to_thread(self.world.person, name, todos, title=title, description=description)

    def expect(self, holds: bool, problem: str) -> None:
        """Note the problem unless it holds."""
        if not holds:
            self.problems.append(problem)

    async def connect(self, *, source: str = "", port: int = 0, receive_buffer: int = 0) -> Wire:
        """Open a connection from `source`, by default the attack's own address, to the target or another port."""
        wire = await Wire.open(port or self.target.port, source=source or self.address, receive_buffer=receive_buffer)
        self._wires.append(wire)
        return wire

    async def ask(self, data: bytes, *, source: str = "", port: int = 0) -> Answer | None:
        """Return the first answer to these bytes on a connection of their own; None if there is none."""
        answer = None
        with suppress(OSError):  # refused, or no answer to the handshake
            wire = await self.connect(source=source, port=port)
            try:
                await wire.send(data)
                answer = await wire.answer()
            finally:
                self._wires.remove(wire)
                wire.close()
        self.statuses[answer.status if answer else 0] += 1
        return answer

    async def answers(self, *pieces: bytes, half_close: bool = False) -> list[int]:
        """Return the statuses of all answers to these pieces, each sent LATE_SECONDS after the one before it."""
        statuses = []
        with suppress(OSError):
            wire = await self.connect()
            for number, piece in enumerate(pieces):
                await asyncio.sleep(LATE_SECONDS if number else 0)
                await wire.send(piece)
            if half_close:
                wire.end_input()
            statuses = [answer.status for answer in await wire.all_answers()]
        self.statuses.update(statuses or [0])
        return statuses

    async def flood(self, clients: int, next_request: Callable[[], bytes]) -> list[Answer]:
        """Let so many clients, each at an address of its own, send one request after the other; return the answers."""
        answers: list[Answer] = []

        async def repeat(address: str) -> None:
            while not over.is_set():
                if answer := await self.ask(next_request(), source=address):
                    answers.append(answer)
                else:
                    await asyncio.sleep(LATE_SECONDS)

        over = asyncio.Event()
        asyncio.get_running_loop().call_later(self.seconds, over.set)
        await asyncio.gather(*(repeat(self.new_address()) for _ in range(clients)))
        return answers

    async def all_at_once(self, requests: Sequence[bytes], *, source: str = "") -> list[Answer | None]:
        """Return the answers to requests that are sent at the same moment."""
        return await asyncio.gather(*(self.ask(data, source=source) for data in requests))

    async def open_all(self, count: int, first: bytes = b"", *, receive_buffer: int = 0) -> list[Wire]:
        """Open connections, each from an address of its own, and send the same bytes on each."""

        wires: list[Wire] = []

        async def open_one() -> None:
            with suppress(OSError):
                wire = await self.connect(source=self.new_address(), receive_buffer=receive_buffer)
                wires.append(wire)
                await wire.send(first)

        await asyncio.gather(*(open_one() for _ in range(count)))
        return wires

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Repeat the work until the attack ends."""
        self._tasks.add(asyncio.create_task(work))

    async def connections_left(self) -> int:
        """Wait until the server has no connection of an attacker; return how many it has after FREE_SECONDS."""
        watch = Stopwatch()
        while left := self.target.connections(apart_from=healthy.ADDRESS):
            if watch.seconds > FREE_SECONDS:
                return left
            await asyncio.sleep(0.1)
        return 0


@dataclass(frozen=True)
class Attack:
    """`run` notes in the assault what it finds. With `holds` the server itself has to free what it is left with."""

    name: str
    sends: str
    sides: tuple[Side, ...]
    run: Callable[[Assault], Awaitable[None]]
    holds: bool = False
    needs_proxy: bool = False


def attack(
    sends: str, *sides: Side, holds: bool = False, needs_proxy: bool = False
) -> Callable[[Callable[[Assault], Awaitable[None]]], Attack]:
    """Make an attack of a function, under the function's name."""

    def make(run: Callable[[Assault], Awaitable[None]]) -> Attack:
        return Attack(run.__name__.replace("_", "-"), sends, sides, run, holds, needs_proxy)

    return make


def together(name: str, attacks: Sequence[Attack]) -> Attack:
    """Make one attack of several that hold what they have."""

    async def run(assault: Assault) -> None:
        await asyncio.gather(*(attack.run(assault) for attack in attacks if assault.target.side in attack.sides))

    return Attack(name, "; ".join(attack.sends for attack in attacks), ("edge", "web"), run, holds=True)


async def strike(
    world: World, attack: Attack, side: Side, *, seconds: float, seed: int, calm_seconds: float = CALM_SECONDS
) -> Row:
    """Measure healthy clients alone for some seconds, then attack one port while they continue."""
    target = world.targets[side]
    with Healthy(world) as calm:
        await asyncio.sleep(calm_seconds)
    assault = Assault(world, target, seconds=seconds, seed=f"{seed} {attack.name} {side}")
    with assault.memory as memory, Healthy(world) as others:
        async with assault:
            # Other clients are watched for as long as said, also where the attack is over at once.
            await asyncio.gather(attack.run(assault), asyncio.sleep(seconds))
            left = await assault.connections_left() if attack.holds else 0
        left = left or await assault.connections_left()
    return Row(
        attack=attack.name,
        side=side,
        sends=attack.sends,
        statuses=dict(sorted(assault.statuses.items())),
        problems=assault.problems,
        before=calm.samples,
        meanwhile=others.samples,
        memory_before=memory.before,
        memory_peak=memory.peak,
        memory_after=target.memory(),
        connections_left=left,
    )
