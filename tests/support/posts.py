"""Send many requests over a few open connections, each under a key and again until it is confirmed."""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
RETRY_SECONDS = 0.1


class Post(NamedTuple):
    path: str
    content: Any
    key: str

    def encode(self) -> bytes:
        body = json.dumps(self.content)
        head = f"POST {self.path} HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n"
        return f"{head}Idempotency-Key: {self.key}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def post_all(port: int, posts: Sequence[Post], connections: int = 50) -> list[dict[str, Any]]:
    """The answers, in the order of the posts."""
    answers: list[dict[str, Any]] = [{}] * len(posts)
    left = iter(enumerate(posts))
    async with asyncio.TaskGroup() as clients:
        for _ in range(min(connections, len(posts))):
            clients.create_task(_post_some(port, left, answers))
    return answers


async def _post_some(port: int, left: Iterator[tuple[int, Post]], answers: list[dict[str, Any]]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for number, post in left:
            status = 0
            while status != 202:
                writer.write(post.encode())
                status, body = await _answer(reader)
                assert status in (202, 207, 503), body
                if status != 202:
                    await asyncio.sleep(RETRY_SECONDS)
            answers[number] = json.loads(body)
    finally:
        writer.close()
        await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = LENGTH.search(head)
    assert length is not None, head
    return int(head[9:12]), await reader.readexactly(int(length[1]))
