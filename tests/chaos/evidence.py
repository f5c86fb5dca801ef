"""What there is when all is over: Kafka's topic, read whole, and all of the database.

Independent of the code under test: a reader of its own, SQL of its own, and a trigger that keeps the ledger's moves.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from kafka import KafkaConsumer, TopicPartition

from edge_api.contract import id_from_position
from tests.chaos.journal import Journal, Position, TopicRecord
from tests.support.stack import Stack
from tests.support.traffic import POISON_KEY
from todos.ingest.prefetch import PREFETCH_MIN_RECORDS
from todos.receipts.lookup import ReceiptKey, ReceiptStatus, find_receipt

READ_SECONDS = 120.0
RECEIPTS = 1_000

RECORD_MOVES = """
    CREATE TABLE chaos_move (n bigserial, partition int, old bigint, new bigint, is_rewind boolean);
    CREATE FUNCTION chaos_record_move() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
        INSERT INTO chaos_move (partition, old, new, is_rewind)
        VALUES (new.partition, old.next_offset, new.next_offset, new.generation <> old.generation);
        RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_move AFTER UPDATE OF next_offset ON todos_partitionledger
    FOR EACH ROW EXECUTE FUNCTION chaos_record_move()
"""


# Each batch is one transaction, with one row for each partition. Behind one as large the next was read ahead.
READ_AHEAD = """
    SELECT count(*) FROM (
        SELECT FROM todos_batch GROUP BY worker, task_id, created_at
        HAVING sum(stored + duplicates + dead_letters) >= %s) large
"""


class Move(NamedTuple):
    """One change of a ledger's next offset, by a batch or by an operator's rewind."""

    old: int
    new: int
    is_rewind: bool = False


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
    moves: dict[int, list[Move]]
    ledger: dict[int, int]
    ends: dict[int, int]
    losses: list[tuple[int, int, int]]  # partition, first offset, next offset
    receipts: list[str]  # those that do not say `stored`
    audit: list[str]
    read_ahead: int = 0  # batches

    def __post_init__(self) -> None:
        self.row_ids = Counter(row.id for row in self.rows)
        # Kafka may have come back with an older log: then a position had one record before and has another one now.
        self.all_records = self.records + self.journal.replaced
        self.ids_at: dict[Position, list[str | None]] = {}
        for record in self.all_records:
            self.ids_at.setdefault(record.position, []).append(record.id)
        # A todo may also stand in the dead letters, under the position of its record.
        dead = (self.ids_at.get(position, [None]) for position in self.letters)
        self.places = self.row_ids + Counter(str(ids[0]) for ids in dead if None not in ids)

    def duplicates(self) -> list[TopicRecord]:
        """Records of the topic whose todo was in it before, conflicts not among them."""
        known: set[str] = set()
        found = []
        conflicts = set(self.conflicts)
        for record in sorted(self.all_records, key=lambda record: record.at):
            if record.position in conflicts:
                continue
            if record.id in known:
                found.append(record)
            elif record.id:
                known.add(record.id)
        return found


def gather(stack: Stack, journal: Journal) -> Evidence:
    ends = stack.end_offsets()
    moves: dict[int, list[Move]] = {partition: [] for partition in ends}
    for partition, *move in stack.rows("SELECT partition, old, new, is_rewind FROM chaos_move ORDER BY n"):
        moves[partition].append(Move(*move))
    rows = stack.rows("SELECT id::text, title, source_partition, source_offset, fingerprint FROM todos_todo")
    letters: dict[bool, list[Position]] = {True: [], False: []}
    for partition, offset, is_conflict in stack.rows(
        "SELECT partition, \"offset\", reason = 'conflict' FROM todos_deadletter"
    ):
        letters[is_conflict].append((partition, offset))
    return Evidence(
        journal=journal,
        records=read_topic(stack, ends),
        rows=[Row(todo_id, title, (partition, offset), told) for todo_id, title, partition, offset, told in rows],
        letters=letters[False],
        conflicts=letters[True],
        moves=moves,
        ledger=stack.ledger(),
        ends=ends,
        losses=stack.rows("SELECT partition, first_offset, next_offset FROM todos_offsetloss"),
        receipts=_wrong_receipts(stack, journal),
        audit=_audit(stack),
        read_ahead=stack.rows(READ_AHEAD, PREFETCH_MIN_RECORDS)[0][0],
    )


def _wrong_receipts(stack: Stack, journal: Journal) -> list[str]:
    """What is told of some of the acknowledged todos: all were read, so all of them are stored."""
    edges = [todo for todo in journal.accepted.values() if todo.offset >= 0]
    asked = random.Random(1).sample(edges, min(len(edges), RECEIPTS))
    with stack.django():
        places = (ReceiptKey(stack.kafka.topic, UUID(todo.id), todo.partition, todo.offset) for todo in asked)
        receipts = [(place, find_receipt(place, owner="")) for place in places]
    return [f"{place}: {receipt}" for place, receipt in receipts if receipt.status != ReceiptStatus.STORED]


def _audit(stack: Stack) -> list[str]:
    """What `manage.py audit` cannot prove: it also follows the chain of batches. Empty when all is well."""
    done = stack.manage("audit")
    return (done.stdout + done.stderr).splitlines() if done.returncode else []


def read_topic(stack: Stack, ends: dict[int, int], since: Mapping[int, int] | None = None) -> list[TopicRecord]:
    """All of it, from the first offset on, or `since` others. What does not come within READ_SECONDS is a hole."""
    left = {TopicPartition(stack.kafka.topic, partition): end for partition, end in ends.items()}
    records = []
    deadline = time.monotonic() + READ_SECONDS
    with closing(KafkaConsumer(**stack.kafka.client_options(), group_id=None, enable_auto_commit=False)) as consumer:
        consumer.assign(list(left))
        consumer.seek_to_beginning()
        for partition, offset in (since or {}).items():
            consumer.seek(TopicPartition(stack.kafka.topic, partition), offset)
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
