"""Real services on free ports, started once when a test first asks for them, and always stopped.

Also the stacks of real processes on them, and the markers: each test is marked by the services that it uses.
"""

import os
import signal
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, settings
from pytest_django import DjangoDbBlocker

from devstack import Kafka, Postgres, Valkey
from tests.support.environment import KAFKA_PORT, POSTGRES_PORT, VALKEY_PORT  # before what imports models
from tests.support.stack import MakeStack, Services, Stack, create_template, running

# The same examples in every run, few of them in `make test-fast`.
# To look further: make test ARGS="--hypothesis-profile thorough".
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # slow is the machine, not the test
settings.register_profile("repeatable", _PATIENT, max_examples=200, derandomize=True)
settings.register_profile("quick", settings.get_profile("repeatable"), max_examples=20)
settings.register_profile("thorough", _PATIENT, max_examples=5_000)
settings.load_profile("repeatable")

# Where the shell started us in the background it ignores Ctrl-C, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Here only the tests' processes start: pytest-django must not read settings there before this file has run."""
    del os.environ["DJANGO_SETTINGS_MODULE"]


# --- Markers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by what its fixtures start: kafka, postgres or browser. `slow` a test says itself.

    Raises UsageError if two tests have the same id: pytest-xdist would run only the first of them.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ())) | {mark.name for mark in item.iter_markers("django_db")}
        for marker, starts in STARTED_BY.items():
            if fixtures & starts:
                item.add_marker(marker)
        if "[" in item.name and "[" not in item.nodeid:
            item._id = item.id.with_params(item.name.partition("[")[2][:-1])  # schemathesis gives it to the name only
    if twice := [nodeid for nodeid, count in Counter(item.nodeid for item in items).items() if count > 1]:
        raise pytest.UsageError(f"several tests have the same id: {twice}")


STARTED_BY = {
    "kafka": {"kafka", "own_kafka", "shared_services", "services", "run"},
    "postgres": {"postgres", "django_db", "db", "transactional_db", "shared_services", "services", "run"},
    "browser": {"browser"},
}


# --- Services


@pytest.fixture(scope="session")
def services_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("services")


@pytest.fixture(scope="session")
def postgres(services_folder: Path) -> Iterator[Postgres]:
    # No test stops the machine itself, so nothing must be on its disk.
    with running(Postgres(services_folder / "postgres", POSTGRES_PORT, settings={"fsync": "off"})) as service:
        yield service


@pytest.fixture(scope="session")
def valkey(services_folder: Path) -> Iterator[Valkey]:
    with running(Valkey(services_folder / "valkey", VALKEY_PORT)) as service:
        yield service


@pytest.fixture(scope="session")
def kafka(services_folder: Path) -> Iterator[Kafka]:
    # Kafka deletes no records meanwhile, however old a test says that they are.
    settings = {"log.retention.check.interval.ms": 86_400_000}
    with running(Kafka(services_folder / "kafka", KAFKA_PORT, settings=settings)) as service:
        yield service


@pytest.fixture(scope="session")
def shared_services(postgres: Postgres, valkey: Valkey, kafka: Kafka) -> Services:
    return Services(postgres, valkey, kafka)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres: Postgres) -> None:
    """pytest-django makes its test database after this."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, postgres: Postgres) -> Iterator[None]:
    """PostgreSQL notices late, on a busy machine, that a program which a test killed is gone."""
    yield
    with closing(psycopg2.connect(postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test%'")


# --- Stacks


@pytest.fixture(scope="session")
def template(shared_services: Services, django_db_blocker: DjangoDbBlocker) -> str:
    """A migrated database, to be copied."""
    return create_template(shared_services.postgres, django_db_blocker)


@pytest.fixture(scope="module")
def make_stack(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Iterator[MakeStack]:
    with ExitStack() as stacks:

        def make(services: Services, **options: Any) -> Stack:
            stack = Stack(services, tmp_path_factory.mktemp("logs"), django_db_blocker, **options)
            stacks.callback(stack.stop)
            return stack

        yield make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show what the processes of a failed test said last."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Stack):
                report.sections.extend(value.log_tails())
    return report
