"""The judge sees each way in which a service can give way, and attacks find a server that keeps to no rule."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from devstack.process import Process
from tests.abuse.assault import Assault, Attack
from tests.abuse.catalogue import ATTACKS
from tests.abuse.healthy import KINDS, Sample, latency
from tests.abuse.judge import GROWTH_BYTES, PROBE_SECONDS, Row
from tests.abuse.world import Person, Target, World
from tests.support.stack import Stack

SERVED = [Sample(kind, 0.01, 0.01, "") for kind in KINDS]
GOOD = Row(
    attack="silence",
    side="edge",
    sends="nothing",
    statuses={202: 10, 503: 1},
    problems=[],
    before=SERVED,
    meanwhile=SERVED,
    memory_before=100,
    memory_peak=100 + GROWTH_BYTES,
    memory_after=100,
    connections_left=0,
)


@pytest.mark.parametrize("timed", [True, False])
def test_a_service_that_holds_is_green(timed: bool) -> None:
    assert [] == GOOD.reasons(timed=timed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"problems": ["a trailer was believed"]}, "a trailer was believed"),
        ({"statuses": {202: 10, 500: 2}}, "2 answers were 500"),
        (
            {"meanwhile": [*SERVED, Sample(KINDS[0], 0.01, 0.01, "503 Not stored")]},
            "POST /new/ (edge): 1 of 2 were not served: 503 Not stored",
        ),
        ({"meanwhile": SERVED[1:]}, "POST /new/ (edge): nothing was asked"),
        ({"memory_peak": 101 + 97 * 2**20}, "memory grew by 97 MiB"),
        ({"memory_after": 0}, "the process ended"),
        ({"connections_left": 3}, "3 connections were still open after 20 s"),
    ],
)
def test_each_way_to_give_way_is_red(change: dict[str, Any], reason: str) -> None:
    assert [reason] == replace(GOOD, **change).reasons(timed=False)


def test_a_slow_probe_is_red_where_durations_are_judged() -> None:
    starved = replace(GOOD, meanwhile=[*SERVED, Sample(KINDS[1], 3.0, PROBE_SECONDS, "")])
    assert [] == starved.reasons(timed=True)
    slow = replace(GOOD, meanwhile=[*SERVED, Sample(KINDS[1], 3.0, PROBE_SECONDS + 0.1, "")])
    assert [] == slow.reasons(timed=False)
    assert ["GET /healthz (edge): p99 was 1.1 s"] == slow.reasons(timed=True)


def test_percentiles_count_those_who_waited_in_vain() -> None:
    samples = [Sample(KINDS[0], number / 100, 0.0, "") for number in range(99)]
    samples.append(Sample(KINDS[0], 30.0, 0.0, "ReadTimeout"))
    assert (100, 0.5, 30.0) == latency(samples)
    assert (0, 0.0, 0.0) == latency([])


# --- A server that answers everything that looks like a request, and believes all of it


@asynccontextmanager
async def credulous_server() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            data = b""
            while b"Connection: close" not in data and (data := await reader.read(65_536)):
                for method, path in re.findall(rb"(GET|POST) (\S+) HTTP", data):
                    status = b"404 Not Found" if path == b"/smuggled" else b"202 OK" if method == b"POST" else b"200 OK"
                    writer.write(b'HTTP/1.1 %s\r\nContent-Length: 11\r\n\r\n{"id": "1"}' % status)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("h2c", "late bytes of a body were read as a request"),
        ("hosts", "2 Host headers"),
        ("smuggling", "the smuggled request was answered"),
        ("encoded-paths", "/%6detrics: 200"),
        ("trailers", "a token in a trailer was believed"),
        ("trailers", "an idempotency key in a trailer was believed"),
        ("trailers", "180 requests of one address passed its limit"),
        ("forged-address", "180 requests of one address passed its limit"),
    ],
)
def test_a_server_that_believes_everything_is_found_out(name: str, found: str) -> None:
    assert any(found in problem for problem in asyncio.run(problems_of(ATTACKS[name])))


async def problems_of(attack: Attack) -> list[str]:
    nothing = Process("nothing", [])
    async with credulous_server() as port:
        target = Target("edge", port, nothing, nothing, port)
        world = World(cast(Stack, None), {"edge": target}, [Person("olga", "1", "token")], "", is_proxied=False)
        async with Assault(world, target, seconds=0.1, seed="1") as assault:
            await attack.run(assault)
    return assault.problems
