"""`make run`: the services that are not configured elsewhere, the set-up, then the programs of the Procfile."""

import fcntl
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from devstack import environment, guard
from devstack.environment import ROOT, STATE
from devstack.interrupts import Interrupted, Interrupts
from devstack.kafka import Kafka
from devstack.ports import HOST, is_taken
from devstack.postgres import Postgres
from devstack.process import Process, ServiceError
from devstack.service import Service
from devstack.valkey import Valkey

PORTS = {"EDGE_PORT": "7007", "WEB_PORT": "7008"}
SETUP_SECONDS = PROGRAMS_SECONDS = 90

BANNER = """
Ready. Ctrl-C stops everything; the data stays in .devstack/.

  POST a todo   http://localhost:{edge}/new/         docs: http://localhost:{edge}/docs
  Read them     http://localhost:{web}/api/todos/
  Admin         http://localhost:{web}/admin/        user: admin   password: {password}

  curl --location 'localhost:{edge}/new/' --header 'Content-Type: application/json' \\
       --data '{{"title": "Do homework", "description": "Finish pending homeworks"}}'
  curl localhost:{web}/api/todos/
"""


def run() -> None:
    """Returns when it was asked to end. Raises ServiceError when something did not start or did not last."""
    with _only_run_here():
        environment.create_dotenv()
        env = PORTS | environment.load()
        _check_ports(env)
        started: list[Service | Process] = []
        interrupts = Interrupts()
        interrupts.install()
        try:
            env |= _start_services(env, started, interrupts)
            _set_up(env, started, interrupts)
            _run_programs(env, started, interrupts)
        except Interrupted:
            _say("Stopping ...")
        finally:
            interrupts.ignore()
            for item in reversed(started):
                item.stop()
            environment.ADDRESSES.unlink(missing_ok=True)


def _start_services(env: dict[str, str], started: list[Service | Process], interrupts: Interrupts) -> dict[str, str]:
    """Start what has no address yet, all at once, and return the addresses."""
    postgres, valkey, kafka = Postgres(STATE / "postgres"), Valkey(STATE / "valkey"), Kafka(STATE / "kafka")
    services = {
        "DATABASE_URL": (postgres, postgres.url),
        "REDIS_URL": (valkey, valkey.url),
        "KAFKA_BOOTSTRAP_SERVERS": (kafka, kafka.bootstrap_servers),
    }
    missing = {name: service for name, service in services.items() if name not in env}
    for service, _ in missing.values():
        _say(f"Starting {service.process.name} ...")
        started.append(service)
        with interrupts.held():
            service.launch()
    for service, _ in missing.values():
        service.wait_ready()
    addresses = {name: address for name, (_, address) in missing.items()}
    environment.publish(addresses)
    return addresses


def _set_up(env: dict[str, str], started: list[Service | Process], interrupts: Interrupts) -> None:
    _say("Creating schema, topic, schedules and admin user ...")
    setup = Process(
        "The set-up", [sys.executable, "-m", "devstack.setup_django"], env=env, cwd=ROOT, log=STATE / "setup.log"
    )
    started.append(setup)
    with interrupts.held():
        setup.start()
    code = setup.wait(SETUP_SECONDS)
    if code != 0:
        raise ServiceError(f"The set-up {'took too long' if code is None else 'failed'}{setup.last_words()}")


def _run_programs(env: dict[str, str], started: list[Service | Process], interrupts: Interrupts) -> None:
    _say("Starting edge, web, worker and beat ...")
    # honcho would let .env win over the environment, so it gets no such file.
    command = [sys.executable, "-m", "honcho", "--env", os.devnull, "start"]
    programs = Process("A program of the Procfile", command, env=env, cwd=ROOT)
    started.append(programs)
    with interrupts.held():
        programs.start()
    urls = [f"http://{HOST}:{env[name]}/readyz" for name in PORTS]
    programs.wait_ready(lambda: all(_is_ok(url) for url in urls), seconds=PROGRAMS_SECONDS)
    password = env.get("DJANGO_SUPERUSER_PASSWORD", "")
    _say(BANNER.format(edge=env["EDGE_PORT"], web=env["WEB_PORT"], password=password))
    programs.wait()
    raise ServiceError("A program of the Procfile ended; its last lines are above")


def _check_ports(env: dict[str, str]) -> None:
    for name in PORTS:
        if not env[name].isdecimal() or not 0 < int(env[name]) < 65536:
            raise ServiceError(f"{name}: must be a port, 1 to 65535")
        if is_taken(int(env[name])):
            raise ServiceError(f"port {env[name]} is in use: stop what listens there, or set {name}")
    env.setdefault("EDGE_PUBLIC_API_URL", f"http://localhost:{env['WEB_PORT']}")


def _is_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own URL
            return bool(response.status == 200)
    except OSError:
        return False


@contextmanager
def _only_run_here() -> Iterator[None]:
    """Two runs must not share the data. The guard keeps the lock until it has ended what a killed run left."""
    STATE.mkdir(exist_ok=True)
    with (STATE / "run.lock").open("a+") as lock:
        _acquire(lock.fileno(), STATE / "run.lock")
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        guard.start(keep_open=[lock.fileno()])
        yield


def _acquire(lock: int, path: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = path.read_text()
            if time.monotonic() > deadline or (holder and psutil.pid_exists(int(holder))):
                raise ServiceError(f"already running in this folder (process {holder})") from None
            time.sleep(0.1)
        else:
            return


def _say(text: str) -> None:
    print(text, flush=True)
