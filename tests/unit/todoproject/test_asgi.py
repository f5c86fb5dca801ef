"""No client, however slow, keeps a thread of the web process; what it may keep of the memory is bounded."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse

from todoproject.asgi import KEPT_BYTES, PART_BYTES, WAITING, Application, Message

MANY = 3 * settings.WEB_THREADS
SECONDS = 60


class Client:
    """One request, and what came of it. A slow client takes no response until it is told to."""

    def __init__(self, path: str = "/", body: Iterable[bytes] = (b"",), *, is_slow: bool = False, **scope: Any) -> None:
        self.scope: Message = {
            "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
            "raw_path": path.encode(), "query_string": b"", "headers": [(b"host", b"localhost")],
            "client": ("192.0.2.7", 1), "server": ("127.0.0.1", 7008), **scope,
        }  # fmt: skip
        self._pieces = list(body)
        self.messages: list[Message] = []
        self.takes, self.gone, self.asked = asyncio.Event(), asyncio.Event(), asyncio.Event()
        if not is_slow:
            self.takes.set()

    async def receive(self) -> Message:
        if self._pieces:
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}
        self.asked.set()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.body":
            self.asked.set()
            await self.takes.wait()

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def content(self) -> bytes:
        *_, last = self.messages
        assert not last["more_body"]
        return b"".join(message["body"] for message in self.messages[1:])


class UnfinishedBody(Client):
    async def receive(self) -> Message:
        if self._pieces:
            return {"type": "http.request", "body": self._pieces.pop(0), "more_body": True}
        return await super().receive()


def respond(response: HttpResponse | StreamingHttpResponse, start_response: Callable[..., Any]) -> Any:
    start_response(f"{response.status_code} OK", list(response.items()))
    return response


def page(content: bytes = b"ok") -> Callable[..., Any]:
    return lambda _environ, start_response: respond(HttpResponse(content), start_response)


def stream(blocks: Iterable[bytes]) -> Callable[..., Any]:
    return lambda _environ, start_response: respond(StreamingHttpResponse(blocks), start_response)


async def call(app: Application, client: Client) -> Client:
    await app(client.scope, client.receive, client.send)
    return client


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await test()

    asyncio.run(bounded())


async def begin(app: Application, clients: list[Client]) -> list[asyncio.Task[Client]]:
    """Start all of them; return when each waits for its client."""
    tasks = [asyncio.create_task(call(app, client)) for client in clients]
    for client in clients:
        await client.asked.wait()
    return tasks


async def end(tasks: list[asyncio.Task[Client]], clients: list[Client]) -> None:
    for client in clients:
        client.takes.set()
        client.gone.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize(
    ("wsgi", "clients"),
    [
        (page(), lambda: [UnfinishedBody(body=[b"half"]) for _ in range(MANY)]),
        (page(b"x" * 3 * PART_BYTES), lambda: [Client(is_slow=True) for _ in range(MANY)]),
        (
            lambda _environ, start: respond(StreamingHttpResponse(iter([b"x" * PART_BYTES] * 3)), start),
            lambda: [Client(is_slow=True) for _ in range(MANY)],
        ),
    ],
    ids=["half a body", "a page", "a stream"],
)
def test_slow_clients_keep_no_thread(wsgi: Callable[..., Any], clients: Callable[[], list[Client]]) -> None:
    async def test() -> None:
        app, slow = Application(wsgi), clients()
        tasks = await begin(app, slow)
        assert 200 == (await call(app, Client())).status
        await end(tasks, slow)

    run(test)


def test_the_threads_remain_and_with_them_their_connections_to_the_database() -> None:
    threads = set()

    def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        threads.add(threading.get_ident())
        return page()(environ, start_response)

    async def test() -> None:
        app = Application(wsgi)
        for _ in range(3):
            await asyncio.gather(*[call(app, Client()) for _ in range(MANY)])

    run(test)
    assert len(threads) <= settings.WEB_THREADS


def test_probes_and_keys_answer_while_all_threads_are_taken_and_the_queue_is_bounded() -> None:
    go_on = threading.Event()

    def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] in {"/", "/metrics"}:
            go_on.wait(SECONDS)
        return page()(environ, start_response)

    async def test() -> None:
        app = Application(wsgi)
        busy = [asyncio.create_task(call(app, Client())) for _ in range(settings.WEB_THREADS + WAITING)]
        busy += [asyncio.create_task(call(app, Client("/metrics"))) for _ in range(MANY)]
        await asyncio.sleep(0)
        try:
            for path in ("/healthz", "/readyz", "/.well-known/jwks.json"):
                assert 200 == (await call(app, Client(path))).status
            refused = await call(app, Client())
            assert (503, "2") == (refused.status, refused.headers["retry-after"])
            assert 503 == json.loads(refused.content)["status"]
        finally:
            go_on.set()
        assert [200] * len(busy) == [client.status for client in await asyncio.gather(*busy)]

    run(test)


def test_what_slow_clients_keep_of_the_memory_is_bounded_and_small_requests_are_always_taken() -> None:
    large = KEPT_BYTES // 4

    async def test() -> None:
        app = Application(page())
        slow: list[Client] = [UnfinishedBody(body=[b"x" * large]) for _ in range(4)]
        tasks = await begin(app, slow)
        refused, small = await call(app, Client(body=[b"x" * large])), await call(app, Client(body=[b"x" * PART_BYTES]))
        assert (503, 200) == (refused.status, small.status)
        await end(tasks, slow)
        assert 200 == (await call(app, Client(body=[b"x" * large]))).status

    run(test)


def test_responses_count_too() -> None:
    async def test() -> None:
        app = Application(page(b"x" * (KEPT_BYTES // 2)))
        slow = [Client(is_slow=True) for _ in range(2)]
        tasks = await begin(app, slow)
        assert 503 == (await call(app, Client())).status
        await end(tasks, slow)
        assert b"x" * (KEPT_BYTES // 2) == (await call(app, Client())).content

    run(test)


def test_what_was_written_is_not_answered_as_refused() -> None:
    async def test() -> None:
        app = Application(page(b"x" * KEPT_BYTES))
        slow = [Client(is_slow=True)]
        tasks = await begin(app, slow)
        assert (503, 200) == ((await call(app, Client())).status, (await call(app, Client(method="POST"))).status)
        await end(tasks, slow)

    run(test)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 3 * PART_BYTES + 7])
def test_a_response_arrives_whole(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]

    async def test() -> None:
        assert content == (await call(Application(page(content)), Client())).content
        blocks = (content[start : start + 1000] for start in range(0, size, 1000))
        got = await call(Application(stream(blocks)), Client())
        assert content == got.content
        assert all(len(message["body"]) <= PART_BYTES for message in got.messages[1:])

    run(test)


def test_a_stream_is_read_as_fast_as_its_client_takes_it_and_closed_when_the_client_is_gone() -> None:
    read, closed = [], []

    def blocks() -> Iterator[bytes]:
        try:
            for number in range(1_000):
                read.append(number)
                yield b"x" * PART_BYTES
        finally:
            closed.append(threading.current_thread().name)

    async def test() -> None:
        app, slow = Application(stream(blocks())), Client(is_slow=True)
        tasks = await begin(app, [slow])
        assert 1 == len(read)
        await end(tasks, [slow])
        assert len(read) < 10

    run(test)
    assert ["pages"] == [name.partition("_")[0] for name in closed]  # Django closes database connections of its thread


@pytest.mark.parametrize("after", [0, 3])
def test_a_stream_that_fails_is_closed_once_and_its_error_reaches_the_server(after: int) -> None:
    closed = []

    def blocks() -> Iterator[bytes]:
        for _ in range(after):
            yield b"x" * PART_BYTES
        raise LookupError

    class Response(StreamingHttpResponse):
        def close(self) -> None:
            closed.append(1)
            super().close()

    response = Response(blocks())

    async def test() -> None:
        with pytest.raises(LookupError):
            await call(Application(lambda _environ, start: respond(response, start)), Client())

    run(test)
    assert [1] == closed


def test_django_gets_the_request_as_wsgi_has_it() -> None:
    seen: dict[str, Any] = {}

    def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        seen.update(environ, body=environ["wsgi.input"].read(3) + environ["wsgi.input"].read(3))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    headers = [
        (b"host", b"localhost"), (b"content-type", b"text/plain"), (b"transfer-encoding", b"chunked"),
        (b"x-forwarded-for", b"a"), (b"x-forwarded-for", b"b"), (b"cookie", b"a=\xe9"),
        (b"cookie", b"b=1"),
    ]  # fmt: skip
    scope: dict[str, Any] = {
        "method": "POST",
        "raw_path": b"/a%20%C3%A9%ff",
        "query_string": b"x=%20&y",
        "headers": headers,
    }

    async def test() -> None:
        assert 200 == (await call(Application(validator(wsgi)), Client(body=[b"ab", b"c"], **scope))).status

    run(test)
    expected = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/a \xc3\xa9\xff", "QUERY_STRING": "x=%20&y", "CONTENT_LENGTH": "3",
        "CONTENT_TYPE": "text/plain", "HTTP_X_FORWARDED_FOR": "a,b", "HTTP_COOKIE": "a=\xe9; b=1",
        "REMOTE_ADDR": "192.0.2.7", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "7008", "SERVER_PROTOCOL": "HTTP/1.1",
        "body": b"abc",
    }  # fmt: skip
    assert expected == {name: seen[name] for name in expected}


def test_django_never_sees_half_a_request() -> None:
    calls = []

    async def test() -> None:
        client = UnfinishedBody(body=[b"half"])
        client.gone.set()
        await call(Application(lambda *_: calls.append(1)), client)  # type: ignore[arg-type]

    run(test)
    assert [] == calls
