"""`make run`: the services that are not configured elsewhere, the set-up, then the programs of the Procfile."""

import os
import subprocess
import sys
import urllib.request

from celery import Celery
from kombu.exceptions import OperationalError

from devstack import environment, guard, lock
from devstack.environment import ROOT, STATE
from devstack.interrupts import Interrupted, Interrupts
from devstack.kafka import Kafka
from devstack.ports import HOST, is_taken
from devstack.postgres import Postgres
from devstack.process import Process, ServiceError
from devstack.service import Service
from devstack.setup_django import PASSWORD_IS_ANOTHER
from devstack.valkey import Valkey
from edge_api.settings import load_settings
from edge_api.shared.env import ConfigError

# Docker's images do not run as root; here root is at most a container's own, and the note would repeat at each start.
QUIET = {"PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges"}
PORTS = {"EDGE_PORT": "7007", "WEB_PORT": "7008"}
# Without signing in, on this machine alone; `make run` says so.
OPEN = {"EDGE_AUTH": "open", "DJANGO_API_AUTH": "open"}
SETUP_SECONDS = PROGRAMS_SECONDS = 90
WATCH_SECONDS = 0.5

BANNER = """
Ready. Ctrl-C stops everything; the data stays in .devstack/.

  POST a todo   http://localhost:{edge}/new/         docs: http://localhost:{edge}/docs
  Read them     http://localhost:{web}/api/todos/
  Admin         http://localhost:{web}/admin/        user: admin   {password}

{sign_in}  curl --location 'localhost:{edge}/new/' {as_admin}--header 'Content-Type: application/json' \\
       --data '{{"title": "Do homework", "description": "Finish pending homeworks"}}'
  curl {as_admin}localhost:{web}/api/todos/
"""
SIGN_IN = '  make manage ARGS="create_token admin" | tee .devstack/token\n'
AS_ADMIN = '--header "Authorization: Bearer $(cat .devstack/token)" '


def run() -> None:
    """Run until Ctrl-C or SIGTERM. Raises ServiceError when a service or program does not start or ends early."""
    with lock.hold(environment.RUN_LOCK) as held:
        guard.start(keep_open=[held])  # it lets go only when it has ended what a killed run left
        environment.unpublish()
        environment.create_dotenv()
        env = PORTS | OPEN | environment.load()
        _check_settings(env)
        _check_ports(env)
        started: list[Service | Process] = []
        interrupts = Interrupts()
        interrupts.install()
        try:
            services = _own_services(env)
            _start_services([service for service in services if not isinstance(service, Kafka)], started, interrupts)
            setup = _start_setup(env, started, interrupts)
            _start_services([service for service in services if isinstance(service, Kafka)], started, interrupts)
            environment.publish(env)
            password = _finish_setup(setup, env)
            programs = _start_programs(env, started, interrupts)
            _say(_banner(env, password))
            _say_what_is_open(env)
            _watch(programs, started)
        except Interrupted:
            _say("Stopping ...")
        finally:
            interrupts.ignore()
            for item in reversed(started):
                item.stop()
            environment.unpublish()


def _own_services(env: dict[str, str]) -> list[Service]:
    """Return the services that have no address in `env`, and add their addresses to it."""
    postgres, valkey, kafka = Postgres(STATE / "postgres"), Valkey(STATE / "valkey"), Kafka(STATE / "kafka")
    services: dict[str, tuple[Service, str]] = {
        "DATABASE_URL": (postgres, postgres.url),
        "REDIS_URL": (valkey, valkey.url),
        "KAFKA_BOOTSTRAP_SERVERS": (kafka, kafka.bootstrap_servers),
    }
    own = {name: service for name, service in services.items() if name not in env}
    env |= {name: address for name, (_, address) in own.items()}
    return [service for service, _ in own.values()]


def _start_services(services: list[Service], started: list[Service | Process], interrupts: Interrupts) -> None:
    for service in services:
        _say(f"Starting {service.process.name} ...")
        started.append(service)
        with interrupts.held():
            service.launch()
    for service in services:
        service.wait_ready()


def _start_setup(env: dict[str, str], started: list[Service | Process], interrupts: Interrupts) -> Process:
    """Create what needs no Kafka, while Kafka's jars are downloaded."""
    _say("Creating schema, topic, schedules and admin user ...")
    command, log = [sys.executable, "-m", "devstack.setup_django"], STATE / "setup.log"
    setup = Process("The set-up", command, env=env, cwd=ROOT, log=log, stdin=subprocess.PIPE)
    started.append(setup)
    with interrupts.held():
        setup.start()
    return setup


def _finish_setup(setup: Process, env: dict[str, str]) -> str:
    """Let the set-up create the topic, now that Kafka is ready. Return what to tell about the admin's password."""
    setup.end_input()
    code = setup.wait(SETUP_SECONDS)
    if code == PASSWORD_IS_ANOTHER:
        return 'password: the one set before; set a new one with make manage ARGS="changepassword admin"'
    if code != 0:
        raise ServiceError(f"The set-up {'took too long' if code is None else 'failed'}{setup.last_words()}")
    return f"password: {env.get('DJANGO_SUPERUSER_PASSWORD', '')}"


def _start_programs(env: dict[str, str], started: list[Service | Process], interrupts: Interrupts) -> Process:
    _say("Starting edge, web, worker and beat ...")
    # honcho would let .env win over the environment, so it gets no such file.
    command = [sys.executable, "-m", "honcho", "--env", os.devnull, "start"]
    programs = Process("A program of the Procfile", command, env=QUIET | env, cwd=ROOT)
    started.append(programs)
    with interrupts.held():
        programs.start()
    urls = [f"http://{HOST}:{env[name]}/readyz" for name in PORTS]

    def are_ready() -> bool:
        _check_services(started)
        return all(_is_ok(url) for url in urls) and _has_worker(env["REDIS_URL"])

    programs.wait_ready(are_ready, seconds=PROGRAMS_SECONDS)
    return programs


def _watch(programs: Process, started: list[Service | Process]) -> None:
    """Wait for the programs; raise ServiceError as soon as one of the services ends, since they need all of them."""
    while programs.wait(WATCH_SECONDS) is None:
        _check_services(started)
    _check_services(started)
    raise ServiceError("A program of the Procfile ended; its last lines are above")


def _check_services(started: list[Service | Process]) -> None:
    for item in started:
        if isinstance(item, Service) and item.process.pid is None:
            raise ServiceError(f"{item.process.name} ended, so everything was stopped{item.process.last_words()}")


def _banner(env: dict[str, str], password: str) -> str:
    """Where one side needs a token, the other gets it too: then the todo that was sent is among those that are read."""
    signs_in = any(env[name] != "open" for name in OPEN)
    return BANNER.format(
        edge=env["EDGE_PORT"],
        web=env["WEB_PORT"],
        password=password,
        sign_in=SIGN_IN if signs_in else "",
        as_admin=AS_ADMIN if signs_in else "",
    )


def _say_what_is_open(env: dict[str, str]) -> None:
    if is_open := [name for name in OPEN if env[name] == "open"]:
        _say(f"WARNING: {' and '.join(is_open)}: open, so no client needs to sign in. For this machine alone.\n")


def _check_settings(env: dict[str, str]) -> None:
    try:
        load_settings({"EDGE_JWKS": "http://localhost/"} | env)  # its true default is made of the ports
    except ConfigError as exc:
        raise ServiceError(str(exc)) from None


def _check_ports(env: dict[str, str]) -> None:
    for name in PORTS:
        if not env[name].isdecimal() or not 0 < int(env[name]) < 65536:
            raise ServiceError(f"{name}: must be a port, 1 to 65535")
        if is_taken(int(env[name])):
            raise ServiceError(f"port {env[name]} is in use: stop what listens there, or set {name}")
    if int(env["EDGE_PORT"]) == int(env["WEB_PORT"]):
        raise ServiceError("WEB_PORT: must not be the same as EDGE_PORT")
    env.setdefault("EDGE_PUBLIC_API_URL", f"http://localhost:{env['WEB_PORT']}")
    env.setdefault("EDGE_JWKS", f"http://localhost:{env['WEB_PORT']}/.well-known/jwks.json")


def _is_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own URL
            return bool(response.status == 200)
    except OSError:
        return False


def _has_worker(redis_url: str) -> bool:
    """A worker answers a ping only when it is ready for tasks."""
    with Celery(broker=redis_url, broker_transport_options={"max_retries": 1}) as app:
        try:
            return bool(app.control.ping(timeout=1, limit=1))
        except OperationalError:  # Redis is down
            return False


def _say(text: str) -> None:
    print(text, flush=True)
