"""Free TCP ports on 127.0.0.1."""

import random
import socket

HOST = "127.0.0.1"
# Below Linux's ephemeral range (32768 up): no outgoing connection can take the port while its service is down.
LOWEST, HIGHEST = 15_000, 32_000
_claims: list[socket.socket] = []


def free_port() -> int:
    """Draw a port that no other process draws while this one lives.

    Raises OSError when none of a hundred ports is free.
    """
    for _ in range(100):
        port = random.randint(LOWEST, HIGHEST)  # noqa: S311 - spreads runs apart, guards nothing
        if not is_taken(port) and _claim(port):
            return port
    raise OSError(f"no free port between {LOWEST} and {HIGHEST}")


def is_taken(port: int) -> bool:
    """Whether a server could not listen on the port, whichever local address it names."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - bound for a moment, never listens
        except OSError:
            return True
    return False


def accepts(port: int) -> bool:
    """Whether something listens on 127.0.0.1:port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _claim(port: int) -> bool:
    """Bind an abstract Unix socket, which leaves no file and ends with this process, even if it is killed."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0todo-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True
