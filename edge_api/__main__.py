"""`python -m edge_api`: the edge behind uvicorn, configured by EDGE_* and KAFKA_* variables."""

import gc
import math
import resource

import uvicorn

from edge_api.contract import MAX_BATCH_BYTES
from edge_api.main import create_app
from edge_api.observability.logging import configure_logging
from edge_api.settings import LONGEST_WAIT_SECONDS, load_settings
from edge_api.shared.env import ConfigError
from edge_api.shared.http1.bounds import SPARE_CONNECTIONS, Bounds
from edge_api.shared.http1.protocol import bounded

SPARE_FILES = 50  # besides the clients' connections
# New objects before the young ones are searched for garbage. Python's own 700 would search each batch several times.
YOUNG_OBJECTS = 10_000


def main() -> None:
    """Run the edge until a signal ends it. An invalid variable ends the process with its name."""
    try:
        settings = load_settings()
    except ConfigError as exc:
        raise SystemExit(str(exc)) from None
    configure_logging(settings.edge.log_level, settings.edge.log_format)
    app = create_app(settings)
    bounds = Bounds(settings.edge.max_connections, max_body_bytes=MAX_BATCH_BYTES)
    _raise_file_limit(bounds.max_connections + SPARE_CONNECTIONS + SPARE_FILES)
    # Objects that live as long as the process are never garbage: searching them would block all requests for 30 ms.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    uvicorn.run(
        app,
        host=settings.edge.host,
        port=settings.edge.port,
        log_config=None,
        access_log=False,  # one line for each request costs more than the request
        server_header=False,
        headers=[("X-Content-Type-Options", "nosniff")],
        proxy_headers=bool(settings.edge.trusted_proxies),
        forwarded_allow_ips=settings.edge.trusted_proxies,
        http=bounded(bounds),
        ws="none",
        backlog=2048,
        # Long enough for requests under way: a slow body first, then the waits for a key and for Kafka.
        timeout_graceful_shutdown=math.ceil(bounds.body_seconds + LONGEST_WAIT_SECONDS) + 1,
    )


def _raise_file_limit(files: int) -> None:
    """Raise the soft limit on open files to `files`, or as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        allowed = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


if __name__ == "__main__":
    main()
