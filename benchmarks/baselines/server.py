"""Serve an app as the edge starts its own: uvicorn with uvloop and httptools, and no access log."""

import sys

import uvicorn
from fastapi import FastAPI


def serve(app: FastAPI) -> None:
    """Serve on the port that the first argument names."""
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        backlog=2048,
        timeout_keep_alive=75,
    )
