"""What is asked of the images and of the stack. Each check says what it found, and raises Failed where it is wrong."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from docker.check_compose import parse_duration
from edge_api.contract import MAX_BATCH_TODOS
from tests.containers.compose import Compose
from tests.containers.engine import Engine, Failed

T = TypeVar("T")
Say = Callable[[str], None]
EDGES, WORKERS = 3, 4
JVM = "kafka"
TODO = b'{"title": "one of many"}'
# Those end by the signal itself, after all is done: 128 + SIGTERM.
CLEAN = {JVM: {143}, "edge": {143}}
# Clients first, so that nothing waits for what is gone.
ORDER = ("proxy", "edge", "beat", "worker", "web", "prometheus", "redis", "kafka", "postgres")
MUST_LACK = {"todo-edge": ("django", "celery", "psycopg2"), "todo-django": ("fastapi", "uvicorn")}


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
    compose.up(services, f"--scale=edge={EDGES}", f"--scale=worker={WORKERS}", "--no-recreate")
    _scaled(compose, token, say)
    _todo_through(compose, token, say)
    if "prometheus" in services:
        _metrics(compose, say)
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
    # The proxy may not have found the edge yet.
    _eventually(lambda: _status(edge, TODO) not in {None, 503} or None, 60, "the edge to answer")
    if (statuses := [_status(edge, TODO), _status(api)]) != [401, 401]:
        raise Failed(f"edge and API answer {statuses} without a token")
    say("one key signs; without a token edge and API answer 401")
    return compose.manage("create_token", "containers", "--service")


def _todo_through(compose: Compose, token: str, say: Say) -> None:
    title = f"from a container {time.time_ns()}"
    started = time.monotonic()

    def post() -> dict[str, Any] | None:
        return _call(compose.url("EDGE", "new/"), json.dumps({"title": title}).encode(), token)

    answer = _eventually(post, 60, "POST /new/ to answer 202")
    url = compose.url("WEB", "api/todos/")
    page = _eventually(lambda: _page_with(url, answer["id"], token), 60, f"the todo {answer['id']} in the list")
    if page["title"] != title:
        raise Failed(f"{url} shows {page}")
    say(f"a todo went through, POST /new/ to GET /api/todos/, in {time.monotonic() - started:.1f} s")


def _page_with(url: str, todo_id: str, token: str) -> dict[str, Any] | None:
    todos = (_call(url, token=token) or {"results": []})["results"]
    return next((todo for todo in todos if todo["id"] == todo_id), None)


def _addresses(compose: Compose, token: str, say: Say) -> None:
    """Behind a proxy of this machine and HAProxy each client has a limit of its own, and none can claim another's."""
    url, many = compose.url("EDGE", "new/"), json.dumps([{"title": "one of many"}] * MAX_BATCH_TODOS).encode()
    asked = {
        "the client of a large batch": _status(f"{url}batch/", many, token, "198.51.100.7"),
        "the same client": _status(url, TODO, token, "198.51.100.7"),
        "the same under a false name": _status(url, TODO, token, "198.51.100.8, 198.51.100.7"),
        "another client": _status(url, TODO, token, "198.51.100.8"),
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


def _scaled(compose: Compose, token: str, say: Say) -> None:
    workers = len(compose.containers("worker"))
    edges = compose.containers("edge")
    if (len(edges), workers) != (EDGES, WORKERS):
        raise Failed(f"{len(edges)} edges and {workers} workers run")

    def all_served() -> list[int] | None:
        _call(compose.url("EDGE", "new/"), TODO, token)
        served = [_requests_of(compose, edge) for edge in edges]
        return served if all(served) else None

    served = _eventually(all_served, 60, "each edge to get a request from the proxy")
    pong = compose("exec", "-T", "worker", "sh", "-c", 'celery --broker="$REDIS_URL" inspect ping --timeout=10')
    if pong.count("pong") != WORKERS:
        raise Failed(f"not {WORKERS} workers answer: {pong}")
    say(f"{EDGES} edges behind one port had {served} requests; {WORKERS} workers answer a ping")


def _requests_of(compose: Compose, edge: str) -> int:
    code = "from urllib.request import urlopen; print(urlopen('http://localhost:7007/metrics').read().decode())"
    lines = compose.python(edge, code).splitlines()
    return round(sum(float(line.split()[-1]) for line in lines if line.startswith("todo_edge_requests_total{")))


def _metrics(compose: Compose, say: Say) -> None:
    """Prometheus' own check of what both sides expose, and its targets."""
    (prometheus,) = compose.containers("prometheus")
    for target in ("edge:7007", "web:7008"):
        check = f"wget -q -O /tmp/metrics http://{target}/metrics && promtool check metrics </tmp/metrics"
        compose.engine.docker("exec", prometheus, "sh", "-c", check)
    compose.engine.docker("exec", prometheus, "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    url = compose.url("PROMETHEUS", "api/v1/")

    def all_up() -> list[str] | None:
        targets = (_call(f"{url}targets") or {"data": {"activeTargets": []}})["data"]["activeTargets"]
        up = [target["labels"]["job"] for target in targets if target["health"] == "up"]
        return up if sorted(up) == ["edge"] * EDGES + ["web"] else None

    _eventually(all_up, 60, f"Prometheus to reach {EDGES} edges and web")
    groups = (_call(f"{url}rules") or {"data": {"groups": []}})["data"]["groups"]
    rules = sum(len(group["rules"]) for group in groups)
    if not rules:
        raise Failed("Prometheus has no alert rules")
    say(f"promtool finds no fault in both /metrics; Prometheus reaches {EDGES} edges and web, with {rules} rules")


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


def _call(url: str, body: bytes | None = None, token: str = "") -> dict[str, Any] | None:
    """The answer of a success; None else."""
    try:
        with urllib.request.urlopen(_request(url, body, token), timeout=10) as response:
            answer: dict[str, Any] = json.load(response)
    except OSError:
        return None
    return answer


def _status(url: str, body: bytes | None = None, token: str = "", sent_for: str = "") -> int | None:
    """None where nothing answers. `sent_for`: as a proxy before HAProxy says it."""
    request = _request(url, body, token)
    if sent_for:
        request.add_header("X-Forwarded-For", sent_for)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as exc:
        return exc.code
    except OSError:
        return None


def _request(url: str, body: bytes | None, token: str) -> urllib.request.Request:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    return urllib.request.Request(url, body, headers)


def _eventually(check: Callable[[], T | None], seconds: float, what: str) -> T:
    deadline = time.monotonic() + seconds
    while (value := check()) is None:
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds:.0f} s for {what}, in vain")
        time.sleep(0.2)
    return value
