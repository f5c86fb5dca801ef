"""Fifteen thousand todos are imported and exported in the memory that a fifth of them needs."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.environment import ROOT
from tests.support.manage import environment
from tests.support.topic import Topic
from todos.models import Todo

pytestmark = pytest.mark.django_db(transaction=True)
MANY, FEW = 15_000, 3_000
# What MANY may need more than FEW. The files differ by 6 MB, and their todos as objects by more.
MARGIN_KB = 5_000
# A slow broker lets the records in flight grow to their limit, which FEW would not reach. With this one, both do.
MEASURED = """
import sys
from pathlib import Path
from django import setup
from django.core.management import call_command
from todos.transfer.imports import run
setup()
run.MAX_IN_FLIGHT_RECORDS = 1_000
call_command(*sys.argv[1:])
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def peak_kb(*arguments: object) -> int:
    """The most memory that a command ever had."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, arguments)],
        cwd=ROOT,
        env=environment() | {"DJANGO_SETTINGS_MODULE": "todoproject.settings"},
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    return int(done.stdout.splitlines()[-1])


def write(path: Path, count: int) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["title", "description"])
        writer.writerows([f"todo {number} of {count}", "word\n" * 100] for number in range(count))
    return path


def test_memory_does_not_grow_with_the_number_of_todos(topic: Topic, tmp_path: Path) -> None:
    few = peak_kb("import_todos", write(tmp_path / "few.csv", FEW))
    many = peak_kb("import_todos", write(tmp_path / "many.csv", MANY))
    assert many < few + MARGIN_KB
    while topic.poll(max_records=20_000, time_budget_seconds=60).stored:
        pass
    assert FEW + MANY == Todo.objects.count()

    newest = Todo.objects.order_by("-created_at", "-id")[FEW].created_at
    few = peak_kb("export_todos", "--since", newest.isoformat(), "--output", tmp_path / "few.jsonl")
    many = peak_kb("export_todos", "--output", tmp_path / "many.jsonl")
    assert many < few + MARGIN_KB
    with (tmp_path / "many.jsonl").open() as file:
        assert FEW + MANY == sum(1 for _ in file)
