"""Real services on free ports, started once when a test first asks for them, and stopped whatever happens."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import django
import psycopg2
import pytest
from hypothesis import HealthCheck, settings

from devstack import Kafka, Postgres, Valkey
from devstack.ports import free_port

# The same examples in every run. To look further: make test ARGS="--hypothesis-profile thorough".
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # slow is the machine, not the test
settings.register_profile("repeatable", _PATIENT, max_examples=200, derandomize=True)
settings.register_profile("thorough", _PATIENT, max_examples=5_000)
settings.load_profile("repeatable")

# Where the shell started us in the background it ignores Ctrl-C, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

POSTGRES_PORT, VALKEY_PORT, KAFKA_PORT = free_port(), free_port(), free_port()

# Django reads its settings before any fixture runs; what a developer's shell holds must not leak in.
for name in [name for name in os.environ if name.startswith(("DJANGO_", "KAFKA_", "EDGE_", "OTEL_"))]:
    del os.environ[name]
os.environ.update(
    DJANGO_SETTINGS_MODULE="todoproject.settings",
    DJANGO_DEBUG="true",
    DJANGO_SECRET_KEY="only for tests",
    DJANGO_SECURE_SSL_REDIRECT="false",
    DJANGO_API_AUTH="open",
    EDGE_AUTH="open",
    DATABASE_URL=f"postgres://todos@127.0.0.1:{POSTGRES_PORT}/todos",
    REDIS_URL=f"redis://127.0.0.1:{VALKEY_PORT}/0",
    KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{KAFKA_PORT}",
)
django.setup()  # before the conftest.py files below this one import models


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Here only the tests' processes start: pytest-django must not read settings there before this file has run."""
    del os.environ["DJANGO_SETTINGS_MODULE"]


ServiceT = TypeVar("ServiceT", Postgres, Valkey, Kafka)


@contextmanager
def running(service: ServiceT) -> Iterator[ServiceT]:
    """Stopped also when its start failed half-way."""
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("services")


@pytest.fixture(scope="session")
def postgres(services: Path) -> Iterator[Postgres]:
    with running(Postgres(services / "postgres", POSTGRES_PORT)) as service:
        yield service


@pytest.fixture(scope="session")
def valkey(services: Path) -> Iterator[Valkey]:
    with running(Valkey(services / "valkey", VALKEY_PORT)) as service:
        yield service


@pytest.fixture(scope="session")
def kafka(services: Path) -> Iterator[Kafka]:
    with running(Kafka(services / "kafka", KAFKA_PORT)) as service:
        yield service


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres: Postgres) -> None:
    """pytest-django makes its test database after this."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, postgres: Postgres) -> Iterator[None]:
    """PostgreSQL notices late, on a busy machine, that a program which a test killed is gone."""
    yield
    with closing(psycopg2.connect(postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test%'")
