"""What there is when all is over: Kafka's topic, read whole, and all of the database.

Independent of the code under test: a reader of its own, SQL of its own, and a trigger that keeps the ledger's moves.
"""

import json
import random
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from kafka import KafkaConsumer, TopicPartition

from edge_api.contract import id_from_position
from tests.chaos.journal import Journal
from tests.support.stack import Stack
from tests.support.traffic import POISON_KEY
from todos.receipts.lookup import ReceiptKey, ReceiptStatus, find_receipt

Position = tuple[int, int]
READ_SECONDS = 120.0
RECEIPTS = 1_000

RECORD_MOVES = """
    CREATE TABLE chaos_move (n bigserial, partition int, old bigint, new bigint);
    CREATE FUNCTION chaos_record_move() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
        INSERT INTO chaos_move (partition, old, new) VALUES (new.partition, old.next_offset, new.next_offset);
        RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_move AFTER UPDATE OF next_offset ON todos_partitionledger
    FOR EACH ROW EXECUTE FUNCTION chaos_record_move()
"""


class TopicRecord(NamedTuple):
    """`id` is None for what can never be a todo; `at` in seconds since 1970; `fingerprint` where a key made the id."""

    position: Position
    id: str | None
    at: float
    fingerprint: str = ""


class Row(NamedTuple):
    id: str
    title: str
    position: Position
    fingerprint: str = ""


@dataclass
class Evidence:
    journal: Journal
    records: list[TopicRecord]
    rows: list[Row]
    letters: list[Position]  # but for conflicts
    conflicts: list[Position]
    moves: dict[int, list[tuple[int, int]]]
    ledger: dict[int, int]
    ends: dict[int, int]
    losses: int
    receipts: list[str]  # those that do not say `stored`
    audit: list[str]

    def __post_init__(self) -> None:
        self.row_ids = Counter(row.id for row in self.rows)
        self.id_at = {record.position: record.id for record in self.records}
        # A todo may also stand in the dead letters, under the position of its record.
        dead_ids = (self.id_at.get(position) for position in self.letters)
        self.places = self.row_ids + Counter(todo_id for todo_id in dead_ids if todo_id)

    def duplicates(self) -> list[TopicRecord]:
        """Records of the topic whose todo was in it before, conflicts not among them."""
        known: set[str] = set()
        found = []
        conflicts = set(self.conflicts)
        for record in sorted(self.records, key=lambda record: record.at):
            if record.position in conflicts:
                continue
            if record.id in known:
                found.append(record)
            elif record.id:
                known.add(record.id)
        return found


def gather(stack: Stack, journal: Journal) -> Evidence:
    ends = stack.end_offsets()
    moves: dict[int, list[tuple[int, int]]] = {partition: [] for partition in ends}
    for partition, old, new in stack.rows("SELECT partition, old, new FROM chaos_move ORDER BY n"):
        moves[partition].append((old, new))
    rows = stack.rows("SELECT id::text, title, source_partition, source_offset, fingerprint FROM todos_todo")
    letters: dict[bool, list[Position]] = {True: [], False: []}
    for partition, offset, is_conflict in stack.rows(
        "SELECT partition, \"offset\", reason = 'conflict' FROM todos_deadletter"
    ):
        letters[is_conflict].append((partition, offset))
    return Evidence(
        journal=journal,
        records=_read_topic(stack, ends),
        rows=[Row(todo_id, title, (partition, offset), told) for todo_id, title, partition, offset, told in rows],
        letters=letters[False],
        conflicts=letters[True],
        moves=moves,
        ledger=stack.ledger(),
        ends=ends,
        losses=stack.count("offsetloss"),
        receipts=_wrong_receipts(stack, journal),
        audit=_audit(stack),
    )


def _wrong_receipts(stack: Stack, journal: Journal) -> list[str]:
    """What is told of some of the acknowledged todos: all were read, so all of them are stored."""
    edges = [todo for todo in journal.accepted.values() if todo.offset >= 0]
    asked = random.Random(1).sample(edges, min(len(edges), RECEIPTS))
    with stack.django():
        places = (ReceiptKey(stack.kafka.topic, UUID(todo.id), todo.partition, todo.offset) for todo in asked)
        receipts = [(place, find_receipt(place, owner="")) for place in places]
    return [
        f"{place}: {receipt}" for place, receipt in receipts if not receipt or receipt.status != ReceiptStatus.STORED
    ]


def _audit(stack: Stack) -> list[str]:
    """What `manage.py audit` cannot prove: it also follows the chain of batches. Empty when all is well."""
    done = stack.manage("audit")
    return (done.stdout + done.stderr).splitlines() if done.returncode else []


def _read_topic(stack: Stack, ends: dict[int, int]) -> list[TopicRecord]:
    """All of it, from the first offset on. What does not come within READ_SECONDS is a hole, and reported as one."""
    left = {TopicPartition(stack.kafka.topic, partition): end for partition, end in ends.items()}
    records = []
    deadline = time.monotonic() + READ_SECONDS
    with closing(KafkaConsumer(**stack.kafka.client_options(), group_id=None, enable_auto_commit=False)) as consumer:
        consumer.assign(list(left))
        consumer.seek_to_beginning()
        while time.monotonic() < deadline and any(consumer.position(where) < end for where, end in left.items()):
            for found in consumer.poll(timeout_ms=500, max_records=5000).values():
                records += [_topic_record(stack.kafka.topic, record) for record in found]
    return records


def _topic_record(topic: str, record: Any) -> TopicRecord:
    todo_id = None
    if record.key != POISON_KEY:
        derived = id_from_position(topic, record.partition, record.offset)
        todo_id = str(json.loads(record.value).get("id") or derived)
    fingerprint = (dict(record.headers).get("fingerprint") or b"").decode()
    return TopicRecord((record.partition, record.offset), todo_id, record.timestamp / 1000, fingerprint)
