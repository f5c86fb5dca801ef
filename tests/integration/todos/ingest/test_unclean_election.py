"""A replica that lagged behind becomes the leader: the log that it has is an older one, and grows past the ledger."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from devstack.brokers import Brokers
from devstack.jars import find_java
from tests.support.stack import running
from tests.support.topic import Topic
from todos.models import HaltReason, LogDivergence, PartitionLedger, Todo
from todos.operations.rewind import rewind

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
LEADER, FOLLOWER = 2, 3  # node 1 keeps the quorum of controllers with either


@pytest.mark.skipif(find_java() is None, reason="Kafka needs Java")
def test_an_unclean_election_halts_the_partition_until_a_rewind(settings: Any, tmp_path: Path) -> None:
    brokers = Brokers(tmp_path / "brokers")
    with running(brokers), ExitStack() as stack:
        leader, follower = brokers.nodes[LEADER - 1], brokers.nodes[FOLLOWER - 1]
        name = {"topic": "unclean", "group": "unclean", "bootstrap_servers": brokers.bootstrap_servers}
        topic = stack.enter_context(closing(Topic(settings.KAFKA.model_copy(update=name))))
        admin = KafkaAdminClient(**topic.kafka.client_options())
        configs = {"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}
        spec = {"assignments": {0: [LEADER, FOLLOWER]}, "configs": configs}
        admin.create_topics({"unclean": spec}, wait_for_metadata=True)
        admin.close()
        topic.send_todos(10)
        assert 10 == topic.poll().stored
        follower.stop()
        topic.send_todos(20)
        assert 20 == topic.poll().stored

        leader.kill()
        follower.start()
        topic.producer.close(timeout=1)  # its sequence numbers are those of the lost log
        topic.producer = topic.new_producer()
        ids = topic.send_todos(50)
        halted = topic.poll(timeout_ms=5_000)

        assert 0 == halted.stored
        ledger = PartitionLedger.objects.get(topic="unclean")
        assert (30, HaltReason.LOG_DIVERGED) == (ledger.next_offset, ledger.halt_reason)
        agreed = LogDivergence.objects.get().first_offset
        assert 10 == agreed
        rewind("unclean", 0, agreed)
        assert 50 == topic.poll().stored
        assert {*ids} <= {str(todo_id) for todo_id in Todo.objects.values_list("id", flat=True)}
