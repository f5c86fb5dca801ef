"""A short form of `make abuse`: each attack once, without judging what depends on the speed of the machine."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

import pytest
from pytest_django import DjangoDbBlocker

from tests.abuse.assault import Attack, strike, together
from tests.abuse.catalogue import ATTACKS
from tests.abuse.world import Side, World, running_world
from tests.support.haproxy import needs_haproxy
from tests.support.stack import Services

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]
SECONDS = 1.0
QUICK = [attack for attack in ATTACKS.values() if not attack.holds]
# At the same time, because the server takes 10 s and more to end each of them.
HOLDS = [
    together("holds", [attack for attack in ATTACKS.values() if attack.holds and "reader" not in attack.name]),
    together("readers", [ATTACKS["slow-readers"], ATTACKS["stopped-readers"]]),
]


# What HAProxy could pass on, or change; it does nothing about the others.
PROXIED = ("h2c", "half-close", "hosts", "smuggling", "encoded-paths", "trailers", "forged-address", "operator-paths")


@pytest.fixture(scope="module")
def start(
    shared_services: Services,
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Callable[[bool], AbstractContextManager[World]]:
    def start(proxied: bool) -> AbstractContextManager[World]:
        return running_world(
            shared_services, template, tmp_path_factory.mktemp("abuse"), django_db_blocker, proxied=proxied
        )

    return start


@pytest.fixture(scope="module")
def world(start: Callable[[bool], AbstractContextManager[World]]) -> Iterator[World]:
    with start(False) as world:
        yield world


@pytest.fixture(scope="module")
def proxied_world(start: Callable[[bool], AbstractContextManager[World]]) -> Iterator[World]:
    with start(True) as world:
        yield world


def on_each_side(attacks: Iterable[Attack]) -> pytest.MarkDecorator:
    cases = [(attack, side) for attack in attacks for side in attack.sides]
    return pytest.mark.parametrize(("attack", "side"), cases, ids=[f"{attack.name}-{side}" for attack, side in cases])


@on_each_side(attack for attack in [*QUICK, *HOLDS] if not attack.needs_proxy)
def test_the_service_holds(world: World, attack: Attack, side: Side) -> None:
    assert [] == reasons(world, attack, side)


@needs_haproxy
@on_each_side(ATTACKS[name] for name in PROXIED)
def test_the_service_holds_behind_haproxy(proxied_world: World, attack: Attack, side: Side) -> None:
    assert [] == reasons(proxied_world, attack, side)


def reasons(world: World, attack: Attack, side: Side) -> list[str]:
    """Return why the attack is judged red. The server is restarted then, for the next one."""
    row = asyncio.run(strike(world, attack, side, seconds=SECONDS, calm_seconds=0, seed=1))
    if found := row.reasons(timed=False):
        world.targets[side].restart()
    return found
