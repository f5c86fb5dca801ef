"""What PostgreSQL did for a statement: the nodes of its plan, and how many rows of tables it read."""

from typing import Any

from django.db import connection


def nodes_of(sql: str) -> list[dict[str, Any]]:
    """Runs it again."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        return _nodes(cursor.fetchone()[0][0]["Plan"])


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan] + [node for inner in plan.get("Plans", []) for node in _nodes(inner)]


def rows_read(nodes: list[dict[str, Any]]) -> int:
    of_tables = (node for node in nodes if "Relation Name" in node)
    each = ((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in of_tables)
    return int(sum(each))
