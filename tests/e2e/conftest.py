"""Stacks of real processes; those that strike a service down get services of their own."""

import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

from devstack import Kafka, Postgres, Valkey
from tests.support.stack import Services, Stack, create_database, django_on

MakeStack = Callable[..., Stack]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """A failed test shows what its processes said last."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Stack):
                report.sections.extend(value.log_tails())
    return report


@pytest.fixture(scope="session")
def shared_services(postgres: Postgres, valkey: Valkey, kafka: Kafka) -> Services:
    return Services(postgres, valkey, kafka)


@pytest.fixture(scope="session")
def template(shared_services: Services, django_db_blocker: DjangoDbBlocker) -> str:
    """A migrated database, to be copied; one for each folder that takes these fixtures."""
    name = f"template_{uuid.uuid4().hex[:8]}"
    create_database(shared_services.postgres, name)
    with django_on(shared_services.postgres.database_url(name), django_db_blocker):
        call_command("migrate", verbosity=0)
    return name


@pytest.fixture(scope="module")
def make_stack(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Iterator[MakeStack]:
    with ExitStack() as stacks:

        def make(services: Services, **options: Any) -> Stack:
            stack = Stack(services, tmp_path_factory.mktemp("logs"), django_db_blocker, **options)
            stacks.callback(stack.stop)
            return stack

        yield make


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, shared_services: Services, template: str) -> Stack:
    """All of it, open to everybody; a folder or a file may have another one."""
    return make_stack(shared_services, template=template).start()
