"""The limit of one FastAPI process: the same body with the same limits, no Kafka. `python -m ... PORT`."""

from fastapi import FastAPI

from benchmarks.baselines.server import serve
from edge_api.contract import TodoFields

app = FastAPI()


@app.post("/new/", status_code=202)
async def create(todo: TodoFields) -> dict[str, str]:
    return {"title": todo.title}


if __name__ == "__main__":
    serve(app)
