"""`python -m edge_api`: the edge behind uvicorn, configured by EDGE_* and KAFKA_* variables."""

import gc
import math

import uvicorn

from edge_api.body import BODY_TIMEOUT_SECONDS
from edge_api.contract import ConfigError
from edge_api.logs import configure_logging
from edge_api.main import create_app
from edge_api.settings import load_settings


def main() -> None:
    try:
        settings = load_settings()
    except ConfigError as exc:
        raise SystemExit(str(exc)) from None
    configure_logging(settings.edge.log_level, settings.edge.log_format)
    app = create_app(settings)
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
        proxy_headers=False,  # nothing here asks who the client is
        ws="none",
        backlog=2048,
        timeout_keep_alive=75,  # longer than the idle time-out of common load balancers (60 s)
        # Requests in flight end by themselves: a slow body first, then the wait for Kafka.
        timeout_graceful_shutdown=math.ceil(BODY_TIMEOUT_SECONDS + settings.edge.ack_timeout_seconds) + 1,
    )


if __name__ == "__main__":
    main()
