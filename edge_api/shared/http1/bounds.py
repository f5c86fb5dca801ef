"""What one client, and all of them together, may cost a port: bytes, connections and seconds."""

from dataclasses import dataclass

MAX_HEADERS, MAX_HEAD_BYTES = 100, 16 * 1024  # of a request line with its headers
READ_BYTES = 32 * 1024  # at once; so much of what follows a request may wait for its response
MAX_UNREAD_BYTES = 64 * 1024  # of a body that the app does not take; one read may exceed it
# Chunks of one byte are six times their body, and each costs as much as a large one.
MAX_CHUNK_OVERHEAD = 64 * 1024  # bytes, besides as many as the body has
# Of the kernel, for each direction of a connection. By itself it would let a client fill some megabytes.
SOCKET_BUFFER_BYTES = 128 * 1024
SPARE_CONNECTIONS = 50  # that are told to come back; any further ones are closed without a response
MIN_TAKEN_BYTES = 64 * 1024  # that a client takes of a response in `write_seconds`


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds in which the two ports differ."""

    max_connections: int
    max_body_bytes: int
    head_seconds: float = 10.0  # from the first byte of a request, or a new connection, to the end of the headers
    body_seconds: float = 10.0  # from the end of the headers to the end of the body
    idle_seconds: float = 75.0  # between requests; longer than the idle time-out of common load balancers (60 s)
    write_seconds: float = 15.0  # for MIN_TAKEN_BYTES of a response, or for its rest
    linger_seconds: float = 1.0  # without a byte from a client that still sends, after the last response
    max_unsent_bytes: int = 64 * 1024 * 1024  # of all responses that wait for their clients
