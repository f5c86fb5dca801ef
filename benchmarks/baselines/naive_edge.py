"""The design that comes to mind first: each request makes a producer, sends, waits and closes. `python -m ... PORT`."""

import json
import os
import sys
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from kafka import KafkaProducer

from edge_api.contract import TodoFields

app = FastAPI()


@app.post("/new/", status_code=202)
def create(todo: TodoFields) -> dict[str, str]:
    """Not async, so that FastAPI runs it in a thread and the event loop stays free."""
    todo_id = str(uuid4())
    producer = KafkaProducer(
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        acks="all",
        value_serializer=lambda value: json.dumps(value).encode(),
    )
    producer.send(os.environ["KAFKA_TOPIC"], {"id": todo_id, **todo.model_dump()}).get(timeout=10)
    producer.close()
    return {"id": todo_id}


def main() -> None:
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_config=None, access_log=False)


if __name__ == "__main__":
    main()
