"""`python -m todoproject.web`: the web process, with the API and the admin."""

import argparse
import logging
import multiprocessing
import os
import signal
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING

import uvicorn
from django.conf import settings

from edge_api.shared.addresses import is_loopback
from edge_api.shared.http1.bounds import Bounds
from edge_api.shared.http1.protocol import bounded

if TYPE_CHECKING:
    from todoproject.asgi import Application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "todoproject.settings")

PROCESSES = 2
# Of each process; with files and databases below 1,024 descriptors, the usual limit.
MAX_CONNECTIONS = 800
STOP_SECONDS = 30  # for the requests under way; a container's stop grace is above it
HUNG_SECONDS = 30  # without an answer to the main process
SWITCH_SECONDS = 0.001  # of Python, 5 ms otherwise, which a probe would wait for each busy thread at each of its steps

BOUNDS = Bounds(MAX_CONNECTIONS, max_body_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
Protocol = bounded(BOUNDS)


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m todoproject.web", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7008, help="port to listen on (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="(default: %(default)s)")
    options = parser.parse_args()
    refuse_debug(options.host)
    uvicorn.run(
        "todoproject.web:create_application",
        factory=True,
        host=options.host,
        port=options.port,
        workers=options.processes,
        http="todoproject.web:Protocol",
        ws="none",
        lifespan="off",
        proxy_headers=False,  # Django decides by DJANGO_BEHIND_PROXY which address to believe
        server_header=False,
        access_log=False,  # todoproject.middleware logs the requests
        log_config=settings.LOGGING,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_worker_healthcheck=HUNG_SECONDS,
    )


def refuse_debug(host: str) -> None:
    """Refuse an address that others can reach while DJANGO_DEBUG is on: errors show code, and the API may be open."""
    if settings.DEBUG and not is_loopback(host):
        raise SystemExit(f"DJANGO_DEBUG: must be false where others can reach the service, as on {host}")


def create_application() -> "Application":
    """Return the ASGI application. uvicorn calls this in each of the processes."""
    from todoproject.asgi import Application
    from todoproject.wsgi import application

    import_module(settings.ROOT_URLCONF)  # the pages, for which the first request would wait
    sys.setswitchinterval(SWITCH_SECONDS)
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_stop_after, args=(parent,), name="parent", daemon=True).start()
    return Application(application)


def _stop_after(parent: multiprocessing.process.BaseProcess) -> None:
    """Stop this process once its parent is gone, even by SIGKILL. It would listen, but not be restarted."""
    parent.join()
    logging.getLogger(__name__).warning("the main process is gone")
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
