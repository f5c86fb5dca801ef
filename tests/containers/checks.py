"""What is asked of the images and of the stack. Each check says what it found, and raises Failed where it is wrong."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from docker.durations import parse_duration
from edge_api.contract import MAX_BATCH_TODOS
from tests.containers import monitoring, scaling
from tests.containers.compose import Compose
from tests.containers.engine import Engine, Failed
from tests.containers.http import call, eventually, status

Say = Callable[[str], None]
JVM = "kafka"
TODO = b'{"title": "one of many"}'
# Those end by the signal itself, after all is done: 128 + SIGTERM.
CLEAN = {JVM: {143}, "edge": {143}}
# Clients first, so that nothing waits for what is gone.
ORDER = ("proxy", "edge", "beat", "worker", "web", "prometheus", "redis", "kafka", "postgres")
MUST_LACK = {"todo-edge": ("django", "celery", "psycopg2"), "todo-django": ("fastapi", "starlette")}


def images(engine: Engine, say: Say) -> None:
    for image, packages in MUST_LACK.items():
        user = engine.docker("image", "inspect", "--format", "{{.Config.User}}", image).strip()
        size = int(engine.docker("image", "inspect", "--format", "{{.Size}}", image))
        if user.split(":")[0] in {"", "0", "root"}:
            raise Failed(f"{image} runs as root")
        code = f"from importlib.util import find_spec; print([name for name in {packages} if find_spec(name)])"
        found = engine.docker("run", "--rm", "--network=none", image, "python", "-c", code).strip()
        if found != "[]":
            raise Failed(f"{image} holds {found}")
        say(f"{image}: {size / 1e6:.0f} MB, runs as {user}, without {', '.join(packages)}")


def whole_stack(compose: Compose, services: list[str], say: Say) -> None:
    compose.up(services)
    say(f"up and healthy: {', '.join(sorted(services))}")
    token = _token(compose, say)
    _todo_through(compose, token, say)
    _addresses(compose, token, say)
    _root_file_systems(compose, services, say)
    compose.up(services, f"--scale=edge={scaling.EDGES}", f"--scale=worker={scaling.WORKERS}", "--no-recreate")
    scaling.check(compose, token, say)
    _todo_through(compose, token, say)
    if "prometheus" in services:
        monitoring.check(compose, scaling.EDGES, say)
    for service in [name for name in ORDER if name in services]:
        _ends_cleanly(compose, service, say)


def three_brokers(compose: Compose, say: Say) -> None:
    """One of three dies, and todos go on."""
    services = [name for name, service in compose.services.items() if not service.get("profiles")]
    compose.up(services)
    say(f"compose.brokers.yml up and healthy: {', '.join(sorted(services))}")
    token = _token(compose, say)
    _todo_through(compose, token, say)
    (victim,) = compose.containers("kafka-2")
    compose("kill", "--signal=SIGKILL", "kafka-2")
    if compose.inspect(victim, ".State.Running") != "false":
        raise Failed("kafka-2 runs on after SIGKILL")
    say("kafka-2 got SIGKILL")
    _todo_through(compose, token, say)


def _token(compose: Compose, say: Say) -> str:
    """Nobody gets in without one; the first start has made the key that signs it."""
    keys = compose.manage("signing_keys", "list").splitlines()
    if len(keys) != 1 or not keys[0].endswith("signs"):
        raise Failed(f"one key ought to sign, and there are {keys}")
    edge, api = compose.url("EDGE", "new/"), compose.url("WEB", "api/todos/")
    # The proxy may not have found them yet.
    eventually(lambda: status(edge, TODO) not in {None, 503} or None, 60, "the edge to answer")
    eventually(lambda: status(api) not in {None, 503} or None, 60, "the API to answer")
    if (statuses := [status(edge, TODO), status(api)]) != [401, 401]:
        raise Failed(f"edge and API answer {statuses} without a token")
    inside = [status(compose.url(side, path)) for side in ("EDGE", "WEB") for path in ("metrics", "readyz")]
    if inside != [404] * 4:
        raise Failed(f"clients get {inside} for /metrics and /readyz")
    say("one key signs; without a token edge and API answer 401; /metrics and /readyz are for operators inside")
    return compose.manage("create_token", "containers", "--service")


def _todo_through(compose: Compose, token: str, say: Say) -> None:
    title = f"from a container {time.time_ns()}"
    started = time.monotonic()

    def post() -> dict[str, Any] | None:
        return call(compose.url("EDGE", "new/"), json.dumps({"title": title}).encode(), token)

    answer = eventually(post, 60, "POST /new/ to answer 202")
    url = compose.url("WEB", "api/todos/")
    page = eventually(lambda: _page_with(url, answer["id"], token), 60, f"the todo {answer['id']} in the list")
    if page["title"] != title:
        raise Failed(f"{url} shows {page}")
    say(f"a todo went through, POST /new/ to GET /api/todos/, in {time.monotonic() - started:.1f} s")


def _page_with(url: str, todo_id: str, token: str) -> dict[str, Any] | None:
    todos = (call(url, token=token) or {"results": []})["results"]
    return next((todo for todo in todos if todo["id"] == todo_id), None)


def _addresses(compose: Compose, token: str, say: Say) -> None:
    """Behind a proxy of this machine and HAProxy each client has a limit of its own, and none can claim another's."""
    url, many = compose.url("EDGE", "new/"), json.dumps([{"title": "one of many"}] * MAX_BATCH_TODOS).encode()
    asked = {
        "the client of a large batch": status(f"{url}batch/", many, token, "198.51.100.7"),
        "the same client": status(url, TODO, token, "198.51.100.7"),
        "the same under a false name": status(url, TODO, token, "198.51.100.8, 198.51.100.7"),
        "another client": status(url, TODO, token, "198.51.100.8"),
    }
    if list(asked.values()) != [202, 429, 429, 202]:
        raise Failed(f"EDGE_RATE_LIMIT_PER_ADDRESS: {asked}")
    say("the edge's limit per address tells clients behind the proxies apart")


def _root_file_systems(compose: Compose, services: list[str], say: Say) -> None:
    """As compose.yml says, in what really runs."""
    for service in services:
        for container in compose.containers(service):
            if compose.inspect(container, ".Config.User") in {"", "0", "root"}:
                raise Failed(f"{service} runs as root")
            if service != JVM and compose.inspect(container, ".HostConfig.ReadonlyRootfs") != "true":
                raise Failed(f"{service} can write to its root file system")
    say(f"no container runs as root; all root file systems but that of {JVM} are read-only")


def _ends_cleanly(compose: Compose, service: str, say: Say) -> None:
    grace = parse_duration(compose.services[service].get("stop_grace_period", "10s"))
    ending = compose.stop(service)
    if not set(ending.codes) <= CLEAN.get(service, {0}):
        raise Failed(
            f"{service} ended with {ending.codes} after {ending.seconds:.1f} s\n{compose('logs', '--tail=20', service)}"
        )
    if timedelta(seconds=ending.seconds) >= grace:
        raise Failed(f"{service} took {ending.seconds:.1f} s to end, of {grace}")
    after = f"{ending.seconds:.1f} s of {grace.total_seconds():.0f} s"
    say(f"{service}: ended by itself after {after}, exit code {ending.codes}")
