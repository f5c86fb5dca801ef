"""Clients that are slow, or stop half-way, in either direction: the server has to let go of them by itself."""

import asyncio
import json

from edge_api.contract import DESCRIPTION_MAX
from tests.abuse.assault import LATE_SECONDS, Assault, attack
from tests.abuse.framing import endpoint
from tests.abuse.wire import SMALL_WINDOW, Wire, request

TRICKLE_SECONDS = 0.5  # between two bytes
READERS, PIPELINED = 30, 300
LONG_TODOS = 40  # of the largest size, on one page: what a thread needs to make the page counts as growth too
LARGE_FILE = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"


@attack("60 answers to Connection: close, whose clients keep the connection", "edge", "web", holds=True)
async def close_and_stay(assault: Assault) -> None:
    wires = await assault.open_all(60, request("GET", "/healthz", "Connection: close"))
    await asyncio.gather(*(wire.answer() for wire in wires))
    await asyncio.sleep(assault.seconds)


@attack("150 silent connections, and 150 that sent one byte", "edge", "web", holds=True)
async def silence(assault: Assault) -> None:
    await assault.open_all(150)
    await assault.open_all(150, b"G")
    await asyncio.sleep(assault.seconds)


@attack("100 heads, a byte every half second", "edge", "web", holds=True)
async def slow_heads(assault: Assault) -> None:
    wires = await assault.open_all(100, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    await _trickle(assault, wires)


@attack("100 bodies, a byte every half second", "edge", "web", holds=True)
async def slow_bodies(assault: Assault) -> None:
    path, _, headers = endpoint(assault)
    head = request("POST", path, *headers, "Content-Type: application/json", "Content-Length: 1000")
    await _trickle(assault, await assault.open_all(100, head))


@attack("64 batches, each without its last byte", "edge", holds=True)
async def slow_batches(assault: Assault) -> None:
    body = json.dumps([{"title": "slow"}] * 500).encode()
    batch = request("POST", "/new/batch/", assault.world.people[0].authorization, body=body)
    await assault.open_all(64, batch[:-1])
    small = request("POST", "/new/batch/", assault.world.people[0].authorization, body=b'[{"title": "healthy batch"}]')
    over = asyncio.get_running_loop().time() + assault.seconds
    while asyncio.get_running_loop().time() < over:
        answer = await assault.ask(small, source=assault.new_address())
        if answer is None or answer.status != 202:
            assault.expect(False, f"a batch of another client: {answer and answer.status}")
            return
        await asyncio.sleep(LATE_SECONDS)


@attack(f"{READERS} clients of long answers, which read a byte every half second", "edge", "web", holds=True)
async def slow_readers(assault: Assault) -> None:
    for wire in await _readers(assault):
        assault.in_background(_read_slowly(wire))
    await asyncio.sleep(assault.seconds)


@attack(f"{READERS} clients of long answers, which read none", "edge", "web", holds=True)
async def stopped_readers(assault: Assault) -> None:
    await _readers(assault)
    await asyncio.sleep(assault.seconds)


async def _trickle(assault: Assault, wires: list[Wire]) -> None:
    async def send(wire: Wire) -> None:
        while True:
            await asyncio.sleep(TRICKLE_SECONDS)
            await wire.send(b"1")

    for wire in wires:
        assault.in_background(send(wire))
    await asyncio.sleep(assault.seconds)


async def _readers(assault: Assault) -> list[Wire]:
    """Ask for more than the system's buffers hold: documents of the edge, or long pages and a large file of the API."""
    if assault.target.side == "edge":
        return await assault.open_all(READERS, request("GET", "/openapi.json") * PIPELINED, receive_buffer=SMALL_WINDOW)
    person = await assault.new_person(LONG_TODOS, description="x" * DESCRIPTION_MAX)
    page = request("GET", f"/api/todos/?page_size={LONG_TODOS}", person.authorization)
    file = request("GET", LARGE_FILE)
    await assault.all_at_once([page, file] * (READERS // 2))
    assault.memory.start_again()  # what the same answers to honest readers cost, the process keeps
    return [
        wire
        for answers in (page * 3, file * 3)
        for wire in await assault.open_all(READERS // 2, answers, receive_buffer=SMALL_WINDOW)
    ]


async def _read_slowly(wire: Wire) -> None:
    while await wire.read(1):
        await asyncio.sleep(TRICKLE_SECONDS)
