"""A database that was filled before there was a history gets one that begins where its ledger stands."""

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection

from todos.ingest.parsing import ParsedBatch
from todos.ingest.store import store
from todos.ledger.batch_history import broken_chains
from todos.ledger.leases import Lease
from todos.models import Batch

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def before_history() -> Iterator[None]:
    call_command("migrate", "todos", "0001", verbosity=0)
    yield
    call_command("migrate", "todos", verbosity=0)


@pytest.mark.usefixtures("before_history")
def test_an_old_ledger_gets_an_anchor() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO todos_partitionledger (topic, partition, next_offset, epoch)"
            " VALUES ('t', 0, 0, 0), ('t', 1, 70, 3)"
        )
    call_command("migrate", "todos", verbosity=0)

    batches = Batch.objects.order_by("partition").values_list("partition", "generation", "first_offset", "next_offset")
    assert list(batches) == [(0, 0, None, 0), (1, 0, None, 70)]
    store("t", {1: Lease(70, 3)}, ParsedBatch(), {1: 75})
    assert not broken_chains("t").exists()
