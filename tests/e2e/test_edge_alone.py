"""The edge needs Kafka, and nothing else of the system."""

import httpx
import psutil

from tests.support.stack import MakeStack, Services, Stack

ELSEWHERE = (
    *("django", "rest_framework", "django_celery_beat", "environ", "celery", "kombu", "redis", "psycopg2"),
    *("todos", "todoproject"),
)
# None in sys.modules makes the import fail, as if the package were not installed.
WITHOUT_THEM = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({ELSEWHERE!r}))
runpy.run_module("edge_api", run_name="__main__")
"""


def test_the_edge_accepts_todos_while_database_redis_and_django_are_away(
    make_stack: MakeStack, shared_services: Services, template: str
) -> None:
    stack: Stack = make_stack(shared_services, template=template)
    nowhere = {"DATABASE_URL": "postgres://127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    edge = stack.edge(command=("-c", WITHOUT_THEM), env=nowhere)

    answer = httpx.post(f"{stack.edge_url}/new/", json={"title": "Do homework"})

    assert 202 == answer.status_code
    position = answer.json()
    assert position["offset"] + 1 == stack.end_offsets()[position["partition"]]
    peers = {connection.raddr.port for connection in psutil.Process(edge.pid).net_connections() if connection.raddr}
    assert not peers & {shared_services.postgres.port, shared_services.valkey.port}
