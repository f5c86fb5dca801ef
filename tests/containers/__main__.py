"""`make containers`: build the images, run all of compose.yml, scale it, stop it, and say what was found.

Where no registry answers, the images of others are stood in for; where no engine can be started, it says so and ends
with exit code 0. Exit code 1: something does not work. Nothing that it started stays behind.
"""

import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.environment import ROOT
from devstack.interrupts import Interrupted, Interrupts
from devstack.process import ServiceError
from tests.containers import checks
from tests.containers.compose import Compose
from tests.containers.engine import Engine, Failed, NoEngine, running_engine
from tests.containers.images import BASE, base_images, provide

OURS = {"todo-django": "django", "todo-edge": "edge"}
_started = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - _started:5.0f} s  {text}", flush=True)


def main() -> int:
    logging.disable()
    interrupts = Interrupts()
    interrupts.install()
    try:
        with running_engine() as engine:
            say(f"Docker engine {engine.version}")
            _check(engine, interrupts)
    except NoEngine as exc:
        print(f"SKIPPED make containers: {exc}")
        return 0
    except (Failed, ServiceError) as exc:
        print(f"FAILED: {exc}", file=sys.stderr)
        return 1
    except Interrupted:
        print("interrupted: everything is stopped")
        return 130
    say("all is well, and everything is removed again")
    return 0


def _check(engine: Engine, interrupts: Interrupts) -> None:
    compose = Compose(engine, "compose.yml")
    names = {service["image"] for service in compose.services.values()} - OURS.keys() | base_images()
    with _folder() as folder, _tidied(engine, interrupts) as stood_in:
        found, missing = provide(engine, names, folder, say)
        stood_in.update(found)
        _build(engine)
        checks.images(engine, say)
        services = [name for name, service in compose.services.items() if service["image"] not in missing]
        with _downed(compose, interrupts):
            checks.whole_stack(compose, services, say)
        brokers = Compose(engine, "compose.yml", "compose.brokers.yml")
        with _downed(brokers, interrupts):
            checks.three_brokers(brokers, say)


def _build(engine: Engine) -> None:
    for image, name in OURS.items():
        started = time.monotonic()
        file = f"docker/{name}.Dockerfile"
        engine.docker("build", "--quiet", "--file", str(ROOT / file), "--tag", image, str(ROOT), seconds=600)
        say(f"{image}: built from {file} in {time.monotonic() - started:.0f} s")


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="todo-containers-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _tidied(engine: Engine, interrupts: Interrupts) -> Iterator[set[str]]:
    """What was stood in for must not be taken for the real image later."""
    stood_in: set[str] = set()
    try:
        yield stood_in
    finally:
        interrupts.ignore()
        if stood_in:
            engine.try_docker("image", "rm", "--force", *stood_in, *OURS, BASE)


@contextmanager
def _downed(compose: Compose, interrupts: Interrupts) -> Iterator[None]:
    try:
        yield
    except Interrupted:
        interrupts.ignore()
        raise
    finally:
        compose.down()


if __name__ == "__main__":
    sys.exit(main())
