"""The load client reads answers exactly, and charges a server for what it kept waiting."""

import asyncio
import json
from contextlib import suppress

import pytest

from benchmarks.client import Answer, Job, Load, due_times, parse_answer, percentiles, request_maker

ANSWER = b'HTTP/1.1 202 Accepted\r\ncontent-length: 12\r\nx: y\r\n\r\n{"id": "abc"}'[:-1]


def test_an_answer_is_complete_with_its_last_byte_only() -> None:
    assert [None] * len(ANSWER) == [parse_answer(ANSWER[:end]) for end in range(len(ANSWER))]
    assert Answer(202, b'{"id": "abc"') == parse_answer(ANSWER)


@pytest.mark.parametrize("header", [b"Content-Length: 0", b"content-length:0", b"CONTENT-LENGTH:  0"])
def test_the_length_is_found_however_it_is_written(header: bytes) -> None:
    assert Answer(503, b"") == parse_answer(b"HTTP/1.1 503 x\r\n" + header + b"\r\n\r\n")


@pytest.mark.parametrize(
    "wrong",
    [
        ANSWER + b"x",  # more than was announced
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"SSH-2.0-x\r\ncontent-length: 0\r\n\r\n",
    ],
)
def test_what_is_no_single_answer_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="not an answer"):
        parse_answer(wrong)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_a_request_announces_its_length_and_each_todo_has_a_title_of_its_own(batch: int) -> None:
    make = request_maker(Job(port=80, batch=batch, tag="a"))
    titles = []
    for number in range(3):
        head, _, body = make(number).partition(b"\r\n\r\n")
        assert f"\r\nContent-Length: {len(body)}".encode() in head
        todos = json.loads(body) if batch else [json.loads(body)]
        titles += [todo["title"] for todo in todos]
    assert 3 * (batch or 1) == len(set(titles))


def test_percentiles_are_values_that_were_measured() -> None:
    expected = {"p50": 500.0, "p90": 900.0, "p99": 990.0, "p99.9": 999.0, "max": 1000.0}
    assert expected == percentiles([float(number) for number in range(1000, 0, -1)])
    assert {"p50": 7.0, "p90": 7.0, "p99": 7.0, "p99.9": 7.0, "max": 7.0} == percentiles([7.0])
    assert {} == percentiles([])


def test_requests_are_due_at_the_rate_and_at_the_same_moments_in_every_run() -> None:
    times = due_times(1000, 10, seed=1)
    assert times == due_times(1000, 10, seed=1) == sorted(times)
    assert 10_000 == pytest.approx(len(times), rel=0.05)
    assert times[-1] < 10


# --- Against a server that stalls once, for everybody

STALL_SECONDS = 0.4


class StallingServer:
    """Takes its time before its first answer; all others wait behind it."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._has_stalled = False
        self.connections: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError):
            while True:
                assert (await reader.readuntil(b"}")).startswith(b"POST /new/ HTTP/1.1\r\n")
                await self._stall()
                writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    async def _stall(self) -> None:
        async with self._turn:
            await asyncio.sleep(0 if self._has_stalled else STALL_SECONDS)
            self._has_stalled = True


async def _load(job: Job) -> Load:
    stalling = StallingServer()
    async with await asyncio.start_server(stalling.serve, "127.0.0.1", 0) as server:
        job.port = server.sockets[0].getsockname()[1]
        load = Load(job)
        await load.run()
        await asyncio.gather(*filter(None, stalling.connections))
    return load


def test_an_open_loop_charges_a_stall_to_every_request_that_was_due_in_it() -> None:
    job = Job(connections=2, warmup=0, seconds=1, rate=200)
    load = asyncio.run(_load(job))
    due = due_times(200, 1, job.seed)
    assert len(due) == load.sent == len(load.answers)
    waited = [done - at for at, done in zip(load.due, load.done, strict=True)]
    kept_waiting = sum(at < due[0] + STALL_SECONDS / 2 for at in due)
    assert kept_waiting <= sum(seconds >= STALL_SECONDS / 2 for seconds in waited)
    result = load.result(cpu_seconds=0)
    assert STALL_SECONDS * 1000 <= result.latencies["max"]
    assert {"202": len(due)} == result.statuses


def test_a_closed_loop_sends_no_more_than_it_has_connections_for() -> None:
    load = asyncio.run(_load(Job(connections=2, warmup=0, seconds=STALL_SECONDS / 2)))
    assert 2 == load.sent == len(load.answers)  # the time is over before the first answer
    assert 0 == load.result(cpu_seconds=0).rate  # and what comes later does not count


def test_what_is_due_in_the_warm_up_does_not_count_as_latency() -> None:
    load = asyncio.run(_load(Job(connections=2, warmup=2 * STALL_SECONDS, seconds=0.5, rate=200)))
    late = [at for at in due_times(200, 2 * STALL_SECONDS + 0.5, 1) if at >= 2 * STALL_SECONDS]
    assert len(late) == len(load.latencies())
    assert load.sent > len(late)


def test_a_closed_connection_ends_the_run() -> None:
    async def run() -> None:
        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with server:
            await Load(Job(port=server.sockets[0].getsockname()[1], seconds=60)).run()

    with pytest.raises(ConnectionError, match="closed a connection"):
        asyncio.run(run())
