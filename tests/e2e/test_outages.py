"""Each service is struck down under load; no program is restarted, and each recovers by itself."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack import Kafka, Postgres, Valkey
from devstack.service import Service
from tests.support.stack import MakeStack, Services, Stack
from tests.support.traffic import Load
from tests.support.waiting import eventually

ANSWER_SECONDS = 5
RECOVERY_SECONDS = 60
# Longer than any time-out of the edge: its producer has given up what was under way, and was replaced.
AWAY_SECONDS = 12


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Of this module alone, because it breaks them."""
    folder: Path = tmp_path_factory.mktemp("services")
    own = Services(Postgres(folder / "postgres"), Valkey(folder / "valkey"), Kafka(folder / "kafka"))
    try:
        for service in own:
            service.start()
        yield own
    finally:
        for service in own:
            service.resume()
            service.stop()


@pytest.fixture(scope="module")
def running(make_stack: MakeStack, services: Services) -> Stack:
    stack = make_stack(services)
    stack.edge()
    stack.worker()
    stack.beat()
    return stack


@pytest.fixture
def stack(running: Stack) -> Iterator[Stack]:
    """Fails the test when something was restarted, or died, or a record is unaccounted for."""
    pids = {name: process.pid for name, process in running.processes.items()}
    with Load(running) as load:
        eventually(lambda: load.count(202) >= 5, seconds=30, what="the first todos to be accepted")
    yield running
    assert pids == {name: process.pid for name, process in running.processes.items()}
    assert 0 == running.count("deadletter")
    assert 0 == running.count("offsetloss")


def wait_until_stored(stack: Stack, load: Load) -> None:
    stack.wait_until_drained(seconds=RECOVERY_SECONDS)
    load.assert_stored_exactly_once()


def accept_more(load: Load, count: int = 20) -> None:
    goal = load.count(202) + count
    eventually(lambda: load.count(202) >= goal, seconds=RECOVERY_SECONDS, what=f"{goal} accepted todos")


def test_postgres_killed_loses_and_repeats_nothing_and_the_edge_goes_on(stack: Stack, services: Services) -> None:
    with Load(stack) as load:
        accept_more(load)
        services.postgres.kill()
        accept_more(load, 200)
        services.postgres.start()
        accept_more(load)

    assert load.count(202) == len(load.answers)
    wait_until_stored(stack, load)


def test_valkey_killed_costs_ticks_and_no_todos(stack: Stack, services: Services) -> None:
    with Load(stack) as load:
        accept_more(load)
        services.valkey.kill()
        eventually(lambda: not stack.count("poller"), seconds=60, what="the polls under way to end")
        accept_more(load)
        services.valkey.start()
        eventually(lambda: stack.count("poller"), seconds=30, what="the next poll")

    assert load.count(202) == len(load.answers)
    wait_until_stored(stack, load)


def freeze(service: Service) -> None:
    service.pause()


def stop(service: Service) -> None:
    service.stop()


def thaw(service: Service) -> None:
    service.resume()


def start(service: Service) -> None:
    service.start()


@pytest.mark.parametrize(("away", "back"), [(freeze, thaw), (stop, start)])
def test_without_the_broker_every_post_is_answered_in_time_and_a_202_is_still_a_promise(
    stack: Stack, services: Services, away: Callable[[Service], None], back: Callable[[Service], None]
) -> None:
    with Load(stack) as load:
        accept_more(load)
        away(services.kafka)
        since = len(load.answers)
        back_at = time.monotonic() + AWAY_SECONDS
        eventually(
            lambda: time.monotonic() > back_at and load.count(503, since=since) >= 40,
            seconds=60,
            what="40 answers of 503",
        )
        assert load.answers[-1].status == 503
        back(services.kafka)
        accept_more(load)

    assert {202, 503} == {answer.status for answer in load.answers}
    assert max(answer.seconds for answer in load.answers) < ANSWER_SECONDS
    assert all(answer.retry_after for answer in load.answers if answer.status == 503)
    wait_until_stored(stack, load)
