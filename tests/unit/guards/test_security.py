"""SECURITY.md names tests that exist, and what it says of Redis holds."""

import ast
import re
from pathlib import Path

import pytest

from todoproject.celery import app
from todos.operations.schedules import POLL_TASK, TRIM_TASK

ROOT = Path(__file__).resolve().parents[3]
TABLE = (ROOT / "SECURITY.md").read_text().partition("\n## Attacks and bounds\n")[2].partition("\n## ")[0]
ROWS = [row.strip("|").split(" | ") for row in re.findall(r"^\| [^a].*\|$", TABLE, re.MULTILINE)]
# They call other tasks, of those that are registered.
CELERYS_OWN = {"accumulate", "backend_cleanup", "chain", "chord", "chord_unlock", "chunks", "group", "map", "starmap"}


def test_each_attack_has_a_bound_and_a_test() -> None:
    assert len(ROWS) >= 9
    assert [] == [row for row in ROWS if len(row) != 3 or not re.findall(r"`tests/\S+`", row[2])]


@pytest.mark.parametrize("node", sorted(set(re.findall(r"`(tests/\S+?)`", TABLE))))
def test_each_named_test_exists(node: str) -> None:
    path, _, name = node.partition("::")
    found = {
        one.name
        for one in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in found


def test_workers_run_no_other_task_and_read_nothing_but_json() -> None:
    app.loader.import_default_modules()
    assert {POLL_TASK, TRIM_TASK} | {f"celery.{name}" for name in CELERYS_OWN} == set(app.tasks)
    assert {"json"} == set(app.conf.accept_content)
