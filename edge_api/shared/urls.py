"""Check URLs of the environment before a client parses them: its error might show a part of the password."""

import re
from urllib.parse import urlsplit

ESCAPES = "is not a URL; in a user or password write / as %2F, ? as %3F, # as %23, [ as %5B and ] as %5D"
_HOST = r"(?:[a-z0-9_][a-z0-9_.-]*|\[[0-9a-f:.]+\])"
_SERVER = re.compile(rf"{_HOST}(?::(?P<port>\d{{1,5}}))?", re.IGNORECASE)
_ORIGIN = re.compile(rf"(?P<scheme>https?)://(?P<any>\*\.)?{_HOST}(?::(?P<port>\d{{1,5}}))?")
_PORTS = {"http": "80", "https": "443"}


def check_url(url: str, *schemes: str) -> None:
    """Raise ValueError if `url` has none of the schemes or no valid hosts.

    Several hosts may be separated by commas. A path that begins with two slashes names a socket.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # a [ without a ]
        raise ValueError(ESCAPES) from None
    if parts.scheme not in schemes:
        raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if "@" in parts.path + parts.query + parts.fragment:  # the password contained a / or another delimiter
        raise ValueError(ESCAPES)
    servers = parts.netloc.rpartition("@")[2]
    if not parts.path.startswith("//") and not all(map(_is_server, servers.split(","))):
        raise ValueError("must have a host, and a port of 1 to 65535 or none")


def check_redis_url(url: str) -> None:
    """Raise ValueError if `url` is not a URL of Redis."""
    check_url(url, "redis", "rediss")
    if not re.fullmatch(r"/?\d{0,5}", urlsplit(url).path):
        raise ValueError("must end in the number of a database, as in redis://host:6379/0, or without one")


def is_origin(text: str, *, wildcard: bool = False) -> bool:
    """Return whether `text` is an origin as browsers send it: lower case, no path, no default port.

    With `wildcard`, the host may begin with *.
    """
    found = _ORIGIN.fullmatch(text)
    if not found or (found["any"] and not wildcard):
        return False
    return found["port"] is None or (_is_port(found["port"]) and found["port"] != _PORTS[found["scheme"]])


def _is_server(text: str) -> bool:
    found = _SERVER.fullmatch(text)
    return bool(found and _is_port(found["port"] or "1"))


def _is_port(text: str) -> bool:
    return 0 < int(text) < 65_536
