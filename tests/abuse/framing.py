"""Requests that say one thing twice, or where they end in an odd way: each must have one answer, or be refused."""

import asyncio
import json
from collections.abc import Iterator

from edge_api.contract.headers import IDEMPOTENCY_KEY
from tests.abuse.assault import Assault, attack
from tests.abuse.wire import chunked, request
from tests.abuse.world import BURST_SECONDS, PER_ADDRESS

TODO = json.dumps({"title": "Do homework"}).encode()
REFRESH = json.dumps({"refresh": "unknown"}).encode()
ACCEPTED = {202, 401}  # by the endpoint of a side: the POST was read as a whole request
LAST = request("GET", "/healthz", "Connection: close")
SMUGGLED = request("GET", "/smuggled")  # its response would be a 404, and no client may get it
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
CHUNKED = "Transfer-Encoding: chunked"


def endpoint(assault: Assault) -> tuple[str, bytes, tuple[str, ...]]:
    """Return the path, the body and the headers of a POST that the side takes: with ACCEPTED."""
    if assault.target.side == "edge":
        return "/new/", TODO, (assault.world.people[0].authorization,)
    return "/api/token/refresh/", REFRESH, ()


@attack("Upgrade: h2c, and the body late; then one that looks like a request", "edge", "web")
async def h2c(assault: Assault) -> None:
    path, body, headers = endpoint(assault)
    head, late = _head_and_body(request("POST", path, *H2C, *headers, body=body))
    statuses = await assault.answers(head, late, LAST)
    assault.expect(len(statuses) == 2 and statuses[0] in ACCEPTED, f"a POST that offers h2c got {statuses}")
    head, late = _head_and_body(request("POST", path, *H2C, *headers, body=SMUGGLED))
    statuses = await assault.answers(head, late, LAST)
    assault.expect(404 not in statuses, f"late bytes of a body were read as a request: {statuses}")


@attack("a whole request, and then an end of the client's side", "edge", "web")
async def half_close(assault: Assault) -> None:
    path, body, headers = endpoint(assault)
    statuses = await assault.answers(request("POST", path, *headers, body=body), half_close=True)
    assault.expect(len(statuses) == 1 and statuses[0] in ACCEPTED, f"a half-closed POST got {statuses}")
    # WSGI knows no body without a length, so the API may refuse it; the edge may not.
    refused = () if assault.target.side == "edge" else (400, 411)
    statuses = await assault.answers(chunked("POST", path, *headers, body=body), half_close=True)
    assault.expect(
        len(statuses) == 1 and statuses[0] in (*ACCEPTED, *refused), f"a half-closed POST in chunks got {statuses}"
    )


@attack("no Host, and two of them", "edge", "web")
async def hosts(assault: Assault) -> None:
    for lines in ((), ("Host: localhost", "Host: localhost"), ("Host: localhost", "Host: other")):
        data = "\r\n".join(["GET /healthz HTTP/1.1", *lines, "Connection: close", "", ""]).encode()
        statuses = await assault.answers(data)
        is_merged = (
            assault.world.is_proxied and len({*lines}) < len(lines) and [200] == statuses
        )  # HAProxy sends one on
        assault.expect([400] == statuses or is_merged, f"{len(lines)} Host headers: {statuses}")


@attack("Transfer-Encoding, Content-Length and chunks of many kinds, each before a smuggled request", "edge", "web")
async def smuggling(assault: Assault) -> None:
    path, body, headers = endpoint(assault)

    async def send(name: str, data: bytes) -> None:
        statuses = await assault.answers(data + SMUGGLED + LAST)
        if assault.world.is_proxied and statuses[:1] and statuses[0] in ACCEPTED:
            # HAProxy reads some leniently and sends them on strictly. It closes, or the rest are requests as well.
            assault.expect(statuses[1:] in ([404, 200], []), f"{name!r} was read in two ways: {statuses}")
            return
        assault.expect(404 not in statuses, f"{name!r}: the smuggled request was answered: {statuses}")
        assault.expect(not ACCEPTED & {*statuses}, f"{name!r} was accepted: {statuses}")

    await asyncio.gather(*(send(name, data) for name, data in odd_bodies(path, body, headers)))


def odd_bodies(path: str, body: bytes, headers: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield odd POSTs with a description of each. A lenient server would find the right end of the body."""
    plain, chunk = request("POST", path, *headers, "Content-Type: application/json"), chunk_of(body)
    length = len(body)
    for line in (
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked;q=1",
        'Transfer-Encoding: "chunked"',
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
        f"{CHUNKED}\r\n{CHUNKED}",
        f"{CHUNKED}\r\nTransfer-Encoding: identity",
    ):
        yield line, _with_line(plain, line) + chunk
    for line in (
        f"Content-Length: {length + 5}\r\n{CHUNKED}",
        f"{CHUNKED}\r\nContent-Length: {length}",
    ):
        yield line, _with_line(plain, line) + chunk
    for line in (
        f"Content-Length: {length}\r\nContent-Length: {length + 1}",
        f"Content-Length: {length}, {length + 1}",
        f"Content-Length: +{length}",
        f"Content-Length: {length:#x}",
        f"Content-Length: {length}_0",
        "Content-Length: -1",
    ):
        yield line, _with_line(plain, line) + body
    head = _with_line(plain, CHUNKED)
    for size in (f"0x{length:x}", f"+{length:x}", f"-{length:x}", f"{length:x}g", f"1{length:016x}", ""):
        yield f"chunk of {size!r}", head + b"%s\r\n%s\r\n0\r\n\r\n" % (size.encode(), body)
    yield "chunk that is too long", head + b"%x\r\n%sxx0\r\n\r\n" % (length, body)
    yield "HTTP/1.0 in chunks", head.replace(b"HTTP/1.1", b"HTTP/1.0") + chunk


@attack("paths in another spelling, which a proxy's rules would not know", "edge", "web")
async def encoded_paths(assault: Assault) -> None:
    edge = ("/%6detrics", "/healthz%2F", "/%72eadyz", "/new/%2e%2e/metrics", "/%2fmetrics", "/openapi%2Ejson")
    web = ("/%6detrics", "/readyz/%70ipeline", "/.well-known%2Fjwks.json", "/%61dmin/login/", "/admin%2Flogin/")
    for path in edge if assault.target.side == "edge" else web:
        answer = await assault.ask(request("GET", path, "Connection: close"))
        assault.expect(answer is not None and answer.status in (400, 404), f"{path}: {answer and answer.status}")
    path, body, headers = endpoint(assault)
    for spelling in (path.replace("e", "%65", 1), f"{path[:-1]}%2F"):
        answer = await assault.ask(request("POST", spelling, *headers, body=body))
        assault.expect(answer is not None and answer.status in (400, 404), f"{spelling}: {answer and answer.status}")


@attack("trailers that name an address, a token and an idempotency key", "edge")
async def trailers(assault: Assault) -> None:
    answer = await assault.ask(chunked("POST", "/new/", body=TODO, trailers=(assault.world.people[0].authorization,)))
    assault.expect(answer is not None and answer.status in (400, 401), "a token in a trailer was believed")
    ids = []
    for _ in range(2):
        keyed = (f"{IDEMPOTENCY_KEY}: {assault.address}",)
        answer = await assault.ask(
            chunked("POST", "/new/", assault.world.people[0].authorization, body=TODO, trailers=keyed)
        )
        ids.append(json.loads(answer.body)["id"] if answer and answer.status == 202 else None)
    assault.expect(ids[0] is None or ids[0] != ids[1], "an idempotency key in a trailer was believed")
    await _expect_one_address(assault, in_trailer=True)


@attack("an address in X-Forwarded-For that no proxy has written", "edge")
async def forged_address(assault: Assault) -> None:
    await _expect_one_address(assault, in_trailer=False)


async def _expect_one_address(assault: Assault, *, in_trailer: bool) -> None:
    """Post until the limit of an address must refuse something. In a trailer the lie is behind what a proxy wrote."""
    headers, source = [assault.world.people[0].authorization], assault.new_address()
    if in_trailer and not assault.world.is_proxied:
        headers.append(f"X-Forwarded-For: {source}")
    posts = []
    for _ in range(3 * PER_ADDRESS * BURST_SECONDS):
        forged = f"X-Forwarded-For: {assault.new_address()}"
        posts.append(
            chunked("POST", "/new/", *headers, body=TODO, trailers=(forged,))
            if in_trailer
            else request("POST", "/new/", *headers, forged, body=TODO)
        )
    # The proxy's own address: the attack comes through the proxy.
    answers = await assault.all_at_once(posts, source="127.0.0.1" if len(headers) == 2 else source)
    statuses = {answer.status for answer in answers if answer}
    assault.expect(429 in statuses or 202 not in statuses, f"{len(posts)} requests of one address passed its limit")


@attack("a trailer that names a token", "web")
async def token_trailer(assault: Assault) -> None:
    body = json.dumps({"action": "done", "ids": ["00000000-0000-0000-0000-000000000000"]}).encode()
    answer = await assault.ask(
        chunked("POST", "/api/todos/bulk/", body=body, trailers=(assault.world.people[0].authorization,))
    )
    assault.expect(answer is not None and answer.status in (400, 401), f"it was believed: {answer and answer.status}")


def chunk_of(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def _head_and_body(data: bytes) -> tuple[bytes, bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def _with_line(head: bytes, line: str) -> bytes:
    return head.removesuffix(b"\r\n") + line.encode("latin-1") + b"\r\n\r\n"
