"""The limit of one FastAPI process: the same body with the same limits, no Kafka. `python -m ... PORT`."""

import sys

import uvicorn
from fastapi import FastAPI

from edge_api.contract import TodoFields

app = FastAPI()


@app.post("/new/", status_code=202)
async def create(todo: TodoFields) -> dict[str, str]:
    return {"title": todo.title}


def main() -> None:
    """uvicorn as the edge starts it: uvloop, httptools, no access log."""
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


if __name__ == "__main__":
    main()
