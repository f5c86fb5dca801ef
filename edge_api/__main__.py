"""`python -m edge_api`: the edge behind uvicorn, configured by EDGE_* and KAFKA_* variables."""

import gc
import logging
import math
import resource
from typing import Any

import uvicorn

from edge_api.http.body import BODY_TIMEOUT_SECONDS
from edge_api.main import create_app
from edge_api.observability.logging import configure_logging
from edge_api.server.protocol import bounded
from edge_api.server.self_check import check_protocol
from edge_api.settings import load_settings
from edge_api.shared.env import ConfigError

log = logging.getLogger(__name__)

SPARE_FILES = 100  # besides the clients' connections


def main() -> None:
    """Run the edge until a signal ends it. An invalid variable ends the process with its name."""
    try:
        settings = load_settings()
    except ConfigError as exc:
        raise SystemExit(str(exc)) from None
    configure_logging(settings.edge.log_level, settings.edge.log_format)
    app = create_app(settings)
    protocol = _choose_protocol(settings.edge.max_connections)
    _raise_file_limit(settings.edge.max_connections + SPARE_FILES)
    # Objects that live as long as the process are never garbage: searching them would block all requests for 30 ms.
    gc.collect()
    gc.freeze()
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
        ws="none",
        backlog=2048,
        timeout_keep_alive=75,  # longer than the idle time-out of common load balancers (60 s)
        # Long enough for requests under way: a slow body first, then the wait for Kafka.
        timeout_graceful_shutdown=math.ceil(BODY_TIMEOUT_SECONDS + settings.edge.ack_timeout_seconds) + 1,
        **protocol,
    )


def _choose_protocol(max_connections: int) -> dict[str, Any]:
    """Return uvicorn's options for the bounded protocol, or for its own if the bounded one does not work with it."""
    protocol = bounded(max_connections)
    failure = check_protocol(protocol)
    if failure is None:
        return {"http": protocol}
    log.warning(
        "Requests are served without bounds on headers and their time: edge_api.server.protocol does not work with "
        "uvicorn %s (%s). Install the versions of requirements/edge.txt",
        uvicorn.__version__,
        failure,
    )
    return {"http": "httptools", "limit_concurrency": max_connections}


def _raise_file_limit(files: int) -> None:
    """Raise the soft limit on open files to `files`, or as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        allowed = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


if __name__ == "__main__":
    main()
