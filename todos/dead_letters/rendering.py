"""Untrusted bytes as text that is safe to show on a page or in a terminal."""

import json
from collections.abc import Sequence

SHOWN_BYTES = 4096


def printable(data: bytes | memoryview | None, limit: int = SHOWN_BYTES) -> str:
    """Return the text with escapes for unprintable characters, cut after `limit` bytes."""
    if data is None:
        return "none"
    text = "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in bytes(data[:limit]).decode(errors="backslashreplace")
    )
    return f"{text}… ({len(data):,} bytes in all)" if len(data) > limit else text


def printable_headers(headers: Sequence[tuple[str, bytes | None]]) -> str:
    """Return one line for each header."""
    return "\n".join(f"{printable(name.encode())}: {printable(value)}" for name, value in headers) or "none"


def editable_json(payload: bytes) -> str:
    """Return the text for a text box, with JSON escapes for unprintable characters, so that its meaning stays."""
    return "".join(
        char if char.isprintable() or char in "\t\r\n" else json.dumps(char)[1:-1]
        for char in payload.decode(errors="backslashreplace")
    )
