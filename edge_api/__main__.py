"""`python -m edge_api`: the edge behind uvicorn, configured by EDGE_* and KAFKA_* variables."""

import gc
import math
import resource

import uvicorn

from edge_api.http.body import BODY_TIMEOUT_SECONDS
from edge_api.main import create_app
from edge_api.observability.logging import configure_logging
from edge_api.server.protocol import bounded
from edge_api.settings import load_settings
from edge_api.shared.env import ConfigError

SPARE_FILES = 100  # beside the clients' connections


def main() -> None:
    try:
        settings = load_settings()
    except ConfigError as exc:
        raise SystemExit(str(exc)) from None
    configure_logging(settings.edge.log_level, settings.edge.log_format)
    app = create_app(settings)
    _allow_open_files(settings.edge.max_connections + SPARE_FILES)
    # What is never given back need not be searched for garbage: that took 30 ms each time, and all requests waited.
    gc.collect()
    gc.freeze()
    uvicorn.run(
        app,
        host=settings.edge.host,
        port=settings.edge.port,
        log_config=None,
        access_log=False,  # one line per request costs more than the request
        server_header=False,
        headers=[("X-Content-Type-Options", "nosniff")],
        proxy_headers=bool(settings.edge.trusted_proxies),
        forwarded_allow_ips=settings.edge.trusted_proxies,
        http=bounded(settings.edge.max_connections),
        ws="none",
        backlog=2048,
        timeout_keep_alive=75,  # longer than the idle time-out of common load balancers (60 s)
        # Requests in flight end by themselves: a slow body first, then the wait for Kafka.
        timeout_graceful_shutdown=math.ceil(BODY_TIMEOUT_SECONDS + settings.edge.ack_timeout_seconds) + 1,
    )


def _allow_open_files(wanted: int) -> None:
    """As far as the system lets it: systems begin with few, for the sake of old programs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


if __name__ == "__main__":
    main()
