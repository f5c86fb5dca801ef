"""manage.py export_todos: what is written is what is stored, and can be imported again without changing anything."""

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from devstack.environment import ROOT
from tests.support.manage import NOWHERE, environment, manage, run
from tests.support.terminal import Terminal
from tests.support.todos import START, make_todos
from tests.support.topic import Topic
from todos.models import Todo

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = [
    ("=HYPERLINK(1)", "+1"),
    ("'=1", "''-1"),
    ("'twas", "\tindented\r\n"),
    ('"quoted", with a comma', 'two\nlines\rand "more"'),
    ("\x1b[2J\u2028\ufeff", "\x01\x7f"),
    ("日本語 🎉", " \u00a0=1"),
    ("\uff1d1", "\n"),
    ("null", ""),
]


def make_hostile() -> None:
    Todo.objects.bulk_create(
        Todo(
            id=UUID(int=number + 1),
            title=title,
            description=description,
            owner=("7", "", "=1", "'=1")[number % 4],
            is_done=number % 2 == 0,
            created_at=START + number * timedelta(microseconds=1),
            source_partition=0,
            source_offset=number,
        )
        for number, (title, description) in enumerate(HOSTILE)
    )


def times_of(todo: Todo) -> list[datetime]:
    return [todo.created_at, todo.stored_at, todo.updated_at]


def exported(*arguments: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("export_todos", "--format", "jsonl", *arguments).out.split("\n")[:-1]]


def said_by_records() -> list[tuple[object, ...]]:
    return list(Todo.objects.order_by("id").values_list("id", "title", "description", "owner", "created_at"))


def exported_titles(*arguments: object) -> list[str]:
    return [todo["title"] for todo in exported(*arguments)]


def test_csv_has_a_heading_and_a_line_for_each_todo_the_oldest_first() -> None:
    make_todos(2)
    heading, *lines = csv.reader(run("export_todos").out.splitlines())
    assert ["id", "title", "description", "owner", "is_done", "created_at", "stored_at", "updated_at"] == heading
    assert [
        [str(todo.id), todo.title, "", "", "false", *(at.isoformat() for at in times_of(todo))]
        for todo in Todo.objects.order_by("created_at")
    ] == lines


def test_json_lines_hold_every_character_as_it_is() -> None:
    make_hostile()
    todos = exported()
    assert HOSTILE == [(todo["title"], todo["description"]) for todo in todos]
    assert [n % 2 == 0 for n in range(len(HOSTILE))] == [todo["is_done"] for todo in todos]
    assert str(UUID(int=1)) == todos[0]["id"]


def test_no_cell_of_the_csv_is_a_formula() -> None:
    make_hostile()
    _, *rows = csv.reader(io.StringIO(run("export_todos").out, newline=""))
    cells = [cell for row in rows for cell in row]
    assert HOSTILE[3] == tuple(rows[3][1:3])
    assert [] == [cell for cell in cells if cell.strip().startswith(("=", "+", "-", "@", "\uff1d"))]
    assert [] == [cell for cell in cells if cell.startswith(("\t", "\r", "\n"))]


def test_only_what_was_asked_for() -> None:
    make_todos(4)
    Todo.objects.filter(title="todo 1").update(is_done=True)
    at = [(START + timedelta(seconds=number)).isoformat() for number in range(5)]
    assert ["todo 1"] == exported_titles("--done")
    assert ["todo 0", "todo 2", "todo 3"] == exported_titles("--open")
    assert ["todo 1", "todo 2"] == exported_titles("--since", at[1], "--until", at[3])
    assert ["todo 2"] == exported_titles("--since", at[1], "--until", at[3], "--open")
    assert [] == exported_titles("--since", at[4])
    Todo.objects.filter(title="todo 3").update(created_at=datetime.now(UTC))
    assert ["todo 3"] == exported_titles("--since", "1h")


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_what_is_exported_can_be_imported_and_changes_nothing(topic: Topic, tmp_path: Path, file_format: str) -> None:
    make_hostile()
    said, all_of_it = said_by_records(), list(Todo.objects.order_by("id").values())
    path = tmp_path / f"todos.{file_format}"
    assert run("export_todos", "--output", path) == (0, f"8 todos exported to {path}\n", "")

    assert run("import_todos", path).out.startswith("8 todos accepted, 0 lines rejected\n")
    summary = topic.poll()
    assert (summary.stored, summary.duplicates) == (0, 8)
    assert all_of_it == list(Todo.objects.order_by("id").values())

    Todo.objects.all().delete()
    assert run("import_todos", path, "--restart").code == 0
    assert topic.poll().stored == 8
    assert said == said_by_records()


def test_a_reader_that_has_enough_ends_it_quietly() -> None:
    make_todos(20_000)
    shell = f"{sys.executable} manage.py export_todos | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True, timeout=200
    )
    assert (done.stdout, done.stderr) == (
        "id,title,description,owner,is_done,created_at,stored_at,updated_at\n141\n",
        "",
    )


def test_it_is_utf_8_whatever_the_terminal_speaks() -> None:
    make_hostile()
    done = manage("export_todos", "--format", "jsonl", env={"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"})
    assert (done.code, done.said) == (0, "")
    assert "日本語 🎉" in done.out


def test_a_file_is_whole_or_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "todos.csv"
    path.write_text("precious")
    done = manage("export_todos", "--output", path, env={"DATABASE_URL": f"postgres://todos@{NOWHERE}/todos"})
    assert done.code == 2
    assert done.said.startswith("CommandError: database: ")
    assert [path] == list(tmp_path.iterdir())
    assert path.read_text() == "precious"


def test_somebody_who_looks_sees_a_bar_and_nothing_of_it_in_the_file(tmp_path: Path) -> None:
    make_todos(20_000)
    path = tmp_path / "todos.csv"
    command = [sys.executable, "manage.py", "export_todos", "--output", str(path)]
    with Terminal(command, environment()) as terminal:
        terminal.wait_for("exporting")
        terminal.wait_for(f"20,000 todos exported to {path}")
        assert terminal.wait() == 0
    assert len(path.read_text().splitlines()) == 20_001


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--done --open", "argument --open: not allowed with argument --done"),
        ("--since yesterday", "--since: 'yesterday' is neither an ISO date or time nor a duration like 2h"),
        ("--output {dir}/todos.txt", "--format: csv or jsonl? The name {dir}/todos.txt does not say"),
        ("--output {dir}/absent/todos.csv", "{dir}/absent/todos.csv.new: No such file or directory"),
        ("--format xml", "argument --format: invalid choice: 'xml' (choose from 'csv', 'jsonl')"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: str, message: str) -> None:
    done = run("export_todos", *arguments.format(dir=tmp_path).split())
    assert (done.out, message.format(dir=tmp_path) in done.said) == ("", True)
    assert "\n" not in done.said
