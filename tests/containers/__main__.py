"""`make containers`: build the images, run all of compose.yml, scale it, stop it, and say what was found.

Where no registry answers, the images of others are stood in for; where no engine can be started, it says so and ends
with exit code 0. Exit code 1: something does not work. Nothing that it started stays behind.
"""

import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from devstack.environment import ROOT
from devstack.interrupts import Interrupted, Interrupts
from devstack.process import ServiceError
from tests.containers import checks
from tests.containers.compose import Compose
from tests.containers.engine import Engine, Failed, NoEngine, running_engine
from tests.containers.images import BASE, SERVICES, base_images, describe, lacking, prepare_base, recipe, stand_in

OURS = {"todo-django": "django", "todo-edge": "edge"}
_started = time.monotonic()
_took: dict[str, float] = {}


def say(text: str) -> None:
    print(f"{time.monotonic() - _started:5.0f} s  {text}", flush=True)


@contextmanager
def _step(name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    _took[name] = time.monotonic() - started


def main() -> int:
    logging.disable()
    interrupts = Interrupts()
    interrupts.install()
    try:
        with running_engine() as engine:
            _took["engine"] = time.monotonic() - _started
            say(f"Docker engine {engine.version}")
            _check(engine, interrupts)
            ended = time.monotonic()
    except NoEngine as exc:
        print(f"containers: SKIPPED, {exc}")
        return 0
    except (Failed, ServiceError) as exc:
        print(f"containers: FAILED, {exc}", file=sys.stderr)
        return 1
    except Interrupted:
        print("containers: interrupted, everything is stopped")
        return 130
    _took["removal"] = time.monotonic() - ended
    say(f"all is well, and everything is removed again: {', '.join(f'{k} {v:.0f} s' for k, v in _took.items())}")
    return 0


def _check(engine: Engine, interrupts: Interrupts) -> None:
    with _folder() as folder:
        compose = Compose(engine, folder, "compose.yml")
        brokers = Compose(engine, folder, "compose.yml", "compose.brokers.yml")
        names = {service["image"] for service in compose.services.values()} - OURS.keys() | base_images()
        with _step("pull"):
            missing = lacking(engine, names, say)
        stood_in, left_out = ({name for name in missing if bool(recipe(name)) is it_is} for it_is in (True, False))
        services = [name for name, service in compose.services.items() if service["image"] not in left_out]
        with _tidied(engine, interrupts, stood_in):
            _make_images(engine, stood_in, folder)
            checks.images(engine, say)
            with _downed(compose, interrupts), _step("stack"):
                checks.whole_stack(compose, services, say)
            with _downed(brokers, interrupts), _step("three brokers"):
                checks.three_brokers(brokers, say)
        if left_out:
            say(f"NOT run, neither pulled nor stood in for: {', '.join(sorted(left_out))}")


def _make_images(engine: Engine, stood_in: set[str], folder: Path) -> None:
    """Two at a time: the stand-ins that the Dockerfiles begin with, and they; the others."""
    if stood_in:
        with _step("base"):
            prepare_base(engine)
        say("Debian and Kafka's jars are there for what stands in")
    first = base_images() & stood_in
    with _step("images"):
        engine.together(
            partial(_make_ours, engine, first, folder),
            partial(_make_others, engine, stood_in - first, folder),
        )


def _make_ours(engine: Engine, names: set[str], folder: Path) -> None:
    _stand_in_for(engine, names, folder)
    for image, name in OURS.items():
        started = time.monotonic()
        file = f"docker/{name}.Dockerfile"
        engine.docker("build", "--quiet", "--file", str(ROOT / file), "--tag", image, str(ROOT), seconds=600)
        say(f"{image}: built from {file} in {time.monotonic() - started:.0f} s")


def _make_others(engine: Engine, names: set[str], folder: Path) -> None:
    if names:
        stand_in(engine, SERVICES, folder)
        _stand_in_for(engine, names, folder)


def _stand_in_for(engine: Engine, names: Iterable[str], folder: Path) -> None:
    for name in sorted(names):
        started = time.monotonic()
        stand_in(engine, name, folder)
        say(f"{name}: cannot be pulled; made in {time.monotonic() - started:.0f} s: {describe(name)}")


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="todo-containers-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _tidied(engine: Engine, interrupts: Interrupts, stood_in: set[str]) -> Iterator[None]:
    """What was stood in for must not be taken for the real image later; an engine of our own forgets all anyway."""
    try:
        yield
    finally:
        interrupts.ignore()
        if stood_in and not engine.is_own:
            engine.try_docker("image", "rm", "--force", *stood_in, *OURS, SERVICES, BASE)


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
