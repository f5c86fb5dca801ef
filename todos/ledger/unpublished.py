"""Find the partitions whose offset in Kafka, the copy for Kafka's own tools, stays behind the ledger."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

# A run publishes every second what it holds, and at its beginning what the run before it could not publish.
PATIENCE_SECONDS = 30.0

# The first batch beyond the published offset tells since when that offset is wrong.
FIND_UNPUBLISHED = """
    SELECT behind.partition, behind.offsets, behind.since
    FROM (
        SELECT l.partition, l.next_offset - coalesce(p.published, 0) AS offsets,
               (SELECT b.created_at FROM todos_batch b
                WHERE b.topic = l.topic AND b.partition = l.partition AND b.generation = l.generation
                  AND b.next_offset > coalesce(p.published, 0)
                ORDER BY b.next_offset LIMIT 1) AS since
        FROM todos_partitionledger l
        LEFT JOIN unnest(%(partitions)s::int[], %(published)s::bigint[]) AS p (partition, published) USING (partition)
        WHERE l.topic = %(topic)s AND l.next_offset > coalesce(p.published, 0)) behind
    WHERE behind.since < now() - %(patience)s * interval '1 second'
    ORDER BY behind.partition
"""


class Unpublished(NamedTuple):
    """How many offsets Kafka's copy of one partition's offset is behind the ledger, and since when."""

    partition: int
    offsets: int
    since: datetime


def unpublished_offsets(topic: str, published: Mapping[int, int]) -> list[Unpublished]:
    """Compare Kafka's copy with the ledger. `published` are Kafka's offsets, by partition."""
    parameters: dict[str, Any] = {
        "topic": topic,
        "partitions": list(published.keys()),
        "published": list(published.values()),
        "patience": PATIENCE_SECONDS,
    }
    with connection.cursor() as cursor:
        cursor.execute(FIND_UNPUBLISHED, parameters)
        return [Unpublished(*row) for row in cursor.fetchall()]
