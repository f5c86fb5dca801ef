"""Connections of a client that keeps to no rule: any bytes, at any time, and every answer that comes back."""

import asyncio
import socket
from contextlib import suppress
from typing import NamedTuple, Self
from urllib.parse import urlencode

import httptools

from devstack.ports import HOST

CSRF = "c" * 32
SMALL_WINDOW = 2048  # bytes that a slow reader has room for
ANSWER_SECONDS = 30.0  # an answer that has not come by then never will


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """A connection. `answers` are those that arrived so far, without interim ones such as 100."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket, self._loop = connection, asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._status, self._headers, self._body = 0, dict[str, str](), b""
        self._returned = 0
        self.answers: list[Answer] = []
        self.is_closed = False  # by the server

    @classmethod
    async def open(cls, port: int, *, source: str = HOST, receive_buffer: int = 0) -> Self:
        """Connect from the loopback address `source`; `receive_buffer` in bytes makes the client's window small."""
        connection = socket.socket()
        try:
            connection.setblocking(False)
            if receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.bind((source, 0))
            async with asyncio.timeout(ANSWER_SECONDS):
                await asyncio.get_running_loop().sock_connect(connection, (HOST, port))
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    async def send(self, data: bytes) -> None:
        """Send all of it, or as much as the server takes before it closes the connection."""
        with suppress(ConnectionError):
            await self._loop.sock_sendall(self._socket, data)

    async def read(self, size: int = 65_536) -> bytes:
        """Return the next bytes, none at the end; answers are parsed from them."""
        try:
            data = await self._loop.sock_recv(self._socket, size)
        except ConnectionError:
            data = b""
        if data:
            with suppress(httptools.HttpParserUpgrade):  # on_message_complete has noted the 101
                self._parser.feed_data(data)
        else:
            self.is_closed = True
        return data

    async def answer(self) -> Answer | None:
        """Return the next answer; None if the server closed the connection, or kept silent for ANSWER_SECONDS."""
        with suppress(TimeoutError, httptools.HttpParserError):
            async with asyncio.timeout(ANSWER_SECONDS):
                while len(self.answers) == self._returned and await self.read():
                    pass
        if len(self.answers) == self._returned:
            return None
        self._returned += 1
        return self.answers[self._returned - 1]

    async def all_answers(self) -> list[Answer]:
        """Return the answers up to the end of the connection, or up to one that does not come in ANSWER_SECONDS."""
        while await self.answer():
            pass
        return self.answers

    def end_input(self) -> None:
        """Say that nothing more comes, as shutdown(SHUT_WR) does."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    # --- Called by the parser

    def on_message_begin(self) -> None:
        self._headers, self._body = {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._status >= 200 or self._status == 101:
            self.answers.append(Answer(self._status, self._headers, self._body))


def request(method: str, target: str, *headers: str, body: bytes = b"", host: str = "localhost") -> bytes:
    """Return the bytes of an ordinary request; its length is stated only if it has a body."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(method: str, target: str, *headers: str, body: bytes, trailers: tuple[str, ...] = ()) -> bytes:
    """Return the bytes of a request whose body is one chunk, with these trailers behind it."""
    head = request(method, target, *headers, "Content-Type: application/json", "Transfer-Encoding: chunked")
    end = "".join(f"{line}\r\n" for line in trailers).encode("latin-1")
    return b"%s%x\r\n%s\r\n0\r\n%s\r\n" % (head, len(body), body, end)


def submit(path: str, fields: dict[str, str], session: str = "") -> bytes:
    """Return the bytes of a form that a browser submits; `session` is the cookie of a user who has signed in."""
    form = urlencode(fields, errors="surrogatepass").encode()
    cookie = f"Cookie: csrftoken={CSRF}" + (f"; {session}" if session else "")
    form_type = "Content-Type: application/x-www-form-urlencoded"
    return request("POST", path, cookie, f"X-CSRFToken: {CSRF}", form_type, f"Content-Length: {len(form)}") + form
