"""manage.py import_todos: every line of a file is stored once, or rejected once, also after a crash."""

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support.manage import NOWHERE, environment, manage, run, start
from tests.support.terminal import Terminal
from tests.support.topic import Topic, records_in
from tests.support.waiting import eventually
from todos.models import Todo
from todos.transfer.imports.job import Progress

pytestmark = pytest.mark.django_db(transaction=True)
NO_DATABASE = {"DATABASE_URL": f"postgres://todos@{NOWHERE}/todos"}
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(data: str | bytes, name: str = "todos.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


def progress_of(path: Path) -> Progress:
    progress = Progress.load(path.with_name(f"{path.name}.progress"))
    assert progress is not None
    return progress


def rejects_of(path: Path) -> list[dict[str, Any]]:
    rejects = path.with_name(f"{path.name}.rejects.jsonl")
    return [json.loads(line) for line in rejects.read_text().splitlines()] if rejects.exists() else []


def titles() -> list[str]:
    return sorted(Todo.objects.values_list("title", flat=True))


def test_the_todos_of_a_file_go_through_kafka(topic: Topic, write: Write) -> None:
    todo_id = "7f3c1c1e-5d0f-4c57-9d1c-3f1f0a1e9a11"
    path = write(
        "title,description,id,created_at\n"
        '"Buy milk, and bread","two\nlitres",,\n'
        f"Do homework,,{todo_id},2026-01-31T09:00:00+01:00\n"
    )
    assert run("import_todos", path) == (0, "2 todos accepted, 0 lines rejected\n", "")
    assert (records_in(topic), Todo.objects.count()) == (2, 0)

    assert topic.poll().stored == 2
    homework = Todo.objects.get(id=todo_id)
    assert (homework.title, homework.created_at.isoformat()) == ("Do homework", "2026-01-31T08:00:00+00:00")
    milk = Todo.objects.exclude(id=todo_id).get()
    assert (milk.title, milk.description) == ("Buy milk, and bread", "two\nlitres")


def test_the_same_file_is_stored_once_however_often_it_is_imported(topic: Topic, write: Write) -> None:
    path = write('{"title": "same"}\n{"title": "same"}\n', "todos.jsonl")
    assert run("import_todos", path).code == 0

    again = run("import_todos", path)
    assert again == (
        0,
        "imported before; --restart sends it again, and no todo is stored twice\n2 todos accepted, 0 lines rejected\n",
        "",
    )
    assert records_in(topic) == 2
    assert run("import_todos", path, "--restart").code == 0
    copy = write(path.read_bytes(), "another-name.jsonl")
    assert run("import_todos", copy).code == 0
    assert records_in(topic) == 6
    summary = topic.poll()
    assert (summary.stored, summary.duplicates) == (2, 4)


def test_a_killed_import_goes_on_where_it_was(topic: Topic, write: Write) -> None:
    """No line is lost, stored twice or rejected twice, and none that was acknowledged for sure is sent again."""
    path = write("title\n" + "".join(f"todo {n}\n" if n % 100 else "\0\n" for n in range(20_000)))
    process = start("import_todos", path, "--rate", 5_000, env=NO_DATABASE)
    try:
        saved = path.with_name("todos.csv.progress")
        eventually(lambda: saved.exists() and progress_of(path).place.lines > 3_000, seconds=60, what="3,000 lines")
    finally:
        process.kill()
        process.communicate()
    before, sent = progress_of(path), records_in(topic)
    assert not before.finished

    done = manage("import_todos", path, env=NO_DATABASE)
    assert (done.code, done.out) == (1, "19,800 todos accepted, 200 lines rejected\n")
    assert f"continuing after line {before.place.lines:,}\n" in done.said
    assert 19_800 - before.accepted == records_in(topic) - sent
    assert list(range(2, 20_001, 100)) == [reject["rejected"]["line"] for reject in rejects_of(path)]

    summary = topic.poll(max_records=50_000)
    assert (summary.stored, summary.duplicates) == (19_800, sent - before.accepted)
    assert sorted(f"todo {n}" for n in range(20_000) if n % 100) == titles()


def test_two_imports_of_one_file_do_not_run_at_the_same_time(topic: Topic, write: Write) -> None:
    path = write("title\n" + "todo\n" * 5_000)
    process = start("import_todos", path, "--rate", 1_000)
    try:
        eventually(path.with_name("todos.csv.progress").exists, seconds=60, what="the first import")
        assert run("import_todos", path) == (2, "", f"{path}: another process is importing it")
    finally:
        process.kill()
        process.communicate()
    assert run("import_todos", path).code == 0


def test_somebody_who_looks_sees_a_bar(topic: Topic, write: Write) -> None:
    path = write("title\n" + "todo\n" * 5_000)
    command = [sys.executable, "manage.py", "import_todos", str(path), "--rate", "200"]
    with Terminal(command, environment()) as terminal:
        terminal.wait_for("todos accepted, 0 lines rejected")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130
    assert "todos accepted, 0 lines rejected" in terminal.seen
    assert "lines are done; the same command continues after them" in terminal.seen


def test_ctrl_c_says_how_to_go_on(topic: Topic, write: Write) -> None:
    path = write("title\n" + "".join(f"todo {n}\n" for n in range(5_000)))
    process = start("import_todos", path, "--rate", 1_000)
    try:
        saved = path.with_name("todos.csv.progress")
        eventually(lambda: saved.exists() and progress_of(path).place.lines > 500, seconds=60, what="500 lines")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    lines = progress_of(path).place.lines
    expected = f"CommandError: interrupted. {lines:,} lines are done; the same command continues after them\n"
    assert (process.returncode, said) == (130, expected)
    assert run("import_todos", path).code == 0
    assert topic.poll(max_records=50_000).stored == 5_000


def test_bad_lines_are_rejected_can_be_repaired_and_keep_their_ids(topic: Topic, write: Write) -> None:
    rows = [
        b"first,,",
        b"caf\xe9,keep me,",
        b"a\0b,,",
        b"x" * 256 + b",,",
        b'"never closed,,',
        b"late,,2026-02-30",
        b"too,many,,cells",
        b"last,,",
    ]
    path = write(b"title,description,created_at\n" + b"\n".join(rows) + b"\n")

    done = run("import_todos", path)
    assert (done.code, done.out) == (1, "2 todos accepted, 6 lines rejected\n")
    assert done.said.endswith(f"6 lines rejected: repair them in {path}.rejects.jsonl, and import that")
    assert "line 3: title: must be UTF-8\n" in done.said
    rejects = rejects_of(path)
    assert [3, 4, 5, 6, 7, 8] == [reject["rejected"]["line"] for reject in rejects]
    assert b"caf\xe9,keep me,\n" == rejects[0]["rejected"]["original"].encode(errors="surrogateescape")
    assert rejects[4]["rejected"]["errors"].keys() == {"created_at"}

    repaired = path.with_name("todos.csv.rejects.jsonl")
    assert run("import_todos", repaired).out == "0 todos accepted, 6 lines rejected\n"
    edited = [reject | {"title": f"repaired {n}", "created_at": None} for n, reject in enumerate(rejects)]
    repaired.write_text("".join(json.dumps(reject) + "\n" for reject in edited))
    for _ in range(2):
        Path(f"{repaired}.rejects.jsonl").unlink(missing_ok=True)
        assert run("import_todos", repaired, "--restart").out == "6 todos accepted, 0 lines rejected\n"
    summary = topic.poll()
    assert (summary.stored, summary.duplicates) == (8, 6)
    assert sorted(["first", "last", *(f"repaired {n}" for n in range(6))]) == titles()
    assert UUID(rejects[0]["id"]) == Todo.objects.get(title="repaired 0").id


def test_standard_input(topic: Topic, write: Write, tmp_path: Path) -> None:
    rejects = tmp_path / "bad.jsonl"
    done = manage("import_todos", "-", "--format", "csv", "--rejects", rejects, stdin="title\none\n\0\ntwo\n")
    assert (done.code, done.out) == (1, "2 todos accepted, 1 lines rejected\n")
    assert [3] == [json.loads(line)["rejected"]["line"] for line in rejects.read_text().splitlines()]
    topic.poll()
    assert titles() == ["one", "two"]


def test_a_dry_run_sends_and_writes_nothing(settings: Any, write: Write, tmp_path: Path) -> None:
    settings.KAFKA = settings.KAFKA.model_copy(update={"bootstrap_servers": NOWHERE})
    path = write("title\none\n\0\n")
    done = run("import_todos", path, "--dry-run")
    assert (done.code, done.out) == (1, "1 todos accepted, 1 lines rejected\n")
    assert done.said == "line 3: title: must not contain the character U+0000\n1 lines rejected"
    assert [path] == list(tmp_path.iterdir())


def test_a_file_that_was_edited_is_not_taken_for_the_old_one(topic: Topic, write: Write) -> None:
    path = write("title\none\n")
    assert run("import_todos", path).code == 0
    write("title\none\ntwo\n")
    done = run("import_todos", path)
    assert (done.code, records_in(topic)) == (2, 1)
    assert "its content differs from the import that" in done.said
    assert run("import_todos", path, "--restart").code == 0
    assert records_in(topic) == 3


def test_rejects_that_somebody_may_be_repairing_are_not_overwritten(topic: Topic, write: Write) -> None:
    path = write("title\n\0\none\n")
    write("precious", "todos.csv.rejects.jsonl")
    done = run("import_todos", path)
    assert (done.code, records_in(topic)) == (2, 0)
    assert (
        "todos.csv.rejects.jsonl exists: import it, move it to another place, or name another with --rejects"
        in done.said
    )
    assert run("import_todos", path, "--rejects", path.with_name("bad.jsonl")).code == 1
    assert path.with_name("todos.csv.rejects.jsonl").read_text() == "precious"


def test_an_import_is_never_faster_than_its_rate(topic: Topic, write: Write) -> None:
    path = write("title\n" + "todo\n" * 21)
    started = time.monotonic()
    assert run("import_todos", path, "--rate", 20).code == 0
    assert time.monotonic() - started >= 1


def test_what_was_done_is_said_to_start_open(topic: Topic, write: Write) -> None:
    path = write("title,is_done\none,true\ntwo,false\n")
    expected = "2 todos accepted, 0 lines rejected\n1 are done in the file; new todos are stored as open\n"
    assert run("import_todos", path) == (0, expected, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{dir}/todos.txt", "--format: csv or jsonl? The name {dir}/todos.txt does not say"),
        ("{dir}/absent.csv", "{dir}/absent.csv: No such file or directory"),
        ("{dir} --format csv", "{dir}: is not a regular file; pass it to"),
        ("{dir}/unknown.csv", "{dir}/unknown.csv: column 'due': unknown; known are title, description, owner, id"),
        ("{dir}/todos.csv --rejects {dir}/todos.csv", "would be overwritten"),
        ("{dir}/todos.csv --progress {dir}/unknown.csv", "unknown.csv is not a progress file of import_todos"),
        ("{dir}/todos.csv --progress {dir}/absent/p", "{dir}/absent/p.new: No such file or directory"),
        ("- --format csv", "-: standard input needs --rejects, and takes neither"),
        ("- --format csv --rejects {dir}/r --restart", "-: standard input needs --rejects, and takes neither"),
        ("{dir}/todos.csv --rate 0", "--rate: must be a number above 0"),
        ("", "the following arguments are required: file"),
    ],
)
def test_wrong_usage_is_one_line_and_sends_nothing(topic: Topic, write: Write, arguments: str, message: str) -> None:
    directory = write("title\none\n").parent
    write("title\none\n", "todos.txt")
    write("title,due\none,soon\n", "unknown.csv")
    done = run("import_todos", *arguments.format(dir=directory).split())
    assert (done.code in {1, 2}, records_in(topic)) == (True, 0)
    assert message.format(dir=directory) in done.said
    assert "\n" not in done.said
