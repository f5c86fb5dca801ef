"""The parts of devstack that need no service: process trees, the guard, .env, ports, jars."""

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from devstack import ServiceError, environment, jars, lock
from devstack.interrupts import SIGNALS, Interrupted, Interrupts
from devstack.ports import HIGHEST, LOWEST, accepts, free_port, is_taken
from devstack.postgres import tool_env
from devstack.process import Process
from tests.support.waiting import eventually

# A parent and a child in a session of its own, as PostgreSQL's backends and honcho's programs are.
TREE = ["sh", "-c", "setsid sleep 1000 & sleep 1000; true"]
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(1000)
"""


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def tree() -> Iterator[tuple[Process, list[int]]]:
    """A running program and the pids of itself, its child and the child in another session."""
    process = Process("Tree", TREE)
    process.start()
    root = psutil.Process(process.pid)
    eventually(
        lambda: [child.name() for child in root.children()] == ["sleep", "sleep"], seconds=10, what="both sleepers"
    )
    yield process, [root.pid, *(child.pid for child in root.children())]
    process.kill()


@pytest.mark.parametrize("end", [Process.kill, lambda process: process.stop(seconds=0.5)])
def test_ending_a_program_ends_its_children_in_other_sessions_too(
    tree: tuple[Process, list[int]], end: Callable[[Process], None]
) -> None:
    process, pids = tree
    assert len(pids) == 3
    end(process)
    assert all(is_gone(pid) for pid in pids)
    assert process.pid is None


def test_a_pause_stops_the_whole_tree_until_resume(tree: tuple[Process, list[int]]) -> None:
    process, pids = tree
    process.pause()
    eventually(
        lambda: {psutil.Process(pid).status() for pid in pids} == {psutil.STATUS_STOPPED},
        seconds=10,
        what="all to be stopped",
    )
    process.resume()
    eventually(
        lambda: psutil.STATUS_STOPPED not in {psutil.Process(pid).status() for pid in pids},
        seconds=10,
        what="none to be stopped",
    )


def test_a_paused_program_can_be_stopped(tree: tuple[Process, list[int]]) -> None:
    process, pids = tree
    process.pause()
    process.stop(seconds=0.5)
    assert all(is_gone(pid) for pid in pids)


def test_a_program_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = Process("Deaf", [sys.executable, "-c", DEAF], log=log)
    process.start()
    process.wait_ready(lambda: log.read_text() == "deaf\n", seconds=10)
    process.stop(seconds=0.2)
    assert process.wait(0) == -signal.SIGKILL


def test_a_program_that_ends_while_starting_is_reported_with_its_last_line(tmp_path: Path) -> None:
    process = Process("Broken", ["sh", "-c", "echo first; echo no space left; exit 3"], log=tmp_path / "log")
    process.start()
    with pytest.raises(ServiceError, match=r"^Broken ended while starting \(.*log: no space left\)$"):
        process.wait_ready(lambda: False, seconds=10)


def test_a_program_that_is_never_ready_is_reported_and_ended() -> None:
    process = Process("Slow", ["sleep", "1000"])
    process.start()
    with pytest.raises(ServiceError, match=r"^Slow was not ready after 0 s$"):
        process.wait_ready(lambda: False, seconds=0.1)
    assert process.pid is None


def test_a_missing_program_is_one_line() -> None:
    with pytest.raises(ServiceError, match=r"^Nothing: no-such-program is missing$"):
        Process("Nothing", ["no-such-program"]).start()


def test_a_killed_owner_takes_its_programs_along() -> None:
    script = textwrap.dedent(
        f"""
        import time
        from devstack.process import Process
        process = Process("Tree", {TREE!r})
        process.start()
        print(process.pid, flush=True)
        time.sleep(1000)
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        root = psutil.Process(int(owner.stdout.readline()))
        eventually(lambda: len(root.children()) == 2, seconds=10, what="both children")
        pids = [root.pid, *(child.pid for child in root.children())]
        owner.kill()
    eventually(lambda: all(is_gone(pid) for pid in pids), seconds=10, what="all to be gone")


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    installed = Interrupts()
    installed.install()
    yield installed
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_only_the_first_signal_interrupts(interrupts: Interrupts) -> None:
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_held_signal_interrupts_at_the_end(interrupts: Interrupts) -> None:
    reached = []

    def work() -> None:
        with interrupts.held():
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append("the end")

    with pytest.raises(Interrupted):
        work()
    assert reached == ["the end"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "DOTENV", tmp_path / ".env")
    monkeypatch.setattr(environment, "PUBLISHED", tmp_path / ".devstack" / "env")
    monkeypatch.setattr(environment, "RUN_LOCK", tmp_path / ".devstack" / "run.lock")
    for name in (*environment.ADDRESS_NAMES, "KAFKA_TOPIC", "DJANGO_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env.example").write_text("# about\nA_PASSWORD=\nFIXED=yes\n#REDIS_URL=\n")
    return tmp_path


def test_dotenv_is_private_and_its_blanks_are_secrets(project: Path) -> None:
    environment.create_dotenv()
    about, password, *rest = (project / ".env").read_text().splitlines()
    assert (about, rest) == ("# about", ["FIXED=yes", "#REDIS_URL="])
    assert len(password.removeprefix("A_PASSWORD=")) >= 20
    assert stat.S_IMODE((project / ".env").stat().st_mode) == 0o600


def test_an_existing_dotenv_is_kept(project: Path) -> None:
    (project / ".env").write_text("MINE=1\n")
    environment.create_dotenv()
    assert (project / ".env").read_text() == "MINE=1\n"


@pytest.fixture
def running(project: Path) -> Iterator[None]:
    with lock.hold(environment.RUN_LOCK):
        yield


@pytest.mark.usefixtures("running")
def test_the_environment_wins_over_the_running_stack_and_that_over_dotenv(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".env").write_text("REDIS_URL=dotenv\nDATABASE_URL=dotenv\nKAFKA_TOPIC=dotenv\nBLANK=\n")
    environment.publish({"REDIS_URL": "stack", "DATABASE_URL": "stack", "KAFKA_BOOTSTRAP_SERVERS": "stack"})
    monkeypatch.setenv("REDIS_URL", "environment")
    seen = environment.load_running()
    assert [seen[name] for name in environment.ADDRESS_NAMES] == ["stack", "environment", "stack"]
    assert seen["KAFKA_TOPIC"] == "dotenv"
    assert "BLANK" not in seen


@pytest.mark.usefixtures("running")
def test_what_the_programs_were_told_is_published_whole_and_in_private() -> None:
    told = dict.fromkeys(environment.ADDRESS_NAMES, "address") | {
        "DJANGO_SECRET_KEY": " '#\"\\n$\n=",
        "KAFKA_TOPIC": "x",
    }
    environment.publish(told | {"EDITOR": "vi"})
    assert stat.S_IMODE(environment.PUBLISHED.stat().st_mode) == 0o600
    assert environment.load_running().items() >= told.items()
    assert "EDITOR" not in environment.PUBLISHED.read_text()


def test_what_a_killed_run_published_counts_no_more(project: Path) -> None:
    with lock.hold(environment.RUN_LOCK):
        environment.publish(dict.fromkeys(environment.ADDRESS_NAMES, "stack"))
        assert environment.load_running()["REDIS_URL"] == "stack"
    with pytest.raises(ServiceError, match=r"nothing runs here: start `make run` first$"):
        environment.load_running()


def test_the_folder_of_a_run_is_closed_to_others(project: Path) -> None:
    state = project / ".devstack"
    state.mkdir(mode=0o755)
    with lock.hold(environment.RUN_LOCK):
        assert 0o700 == stat.S_IMODE(state.stat().st_mode)


def test_a_second_run_is_refused(project: Path) -> None:
    with lock.hold(environment.RUN_LOCK), pytest.raises(ServiceError, match=f"^already running .*{os.getpid()}"):
        lock.hold(environment.RUN_LOCK).__enter__()


def test_without_a_stack_the_line_says_what_to_do(project: Path) -> None:
    with pytest.raises(ServiceError, match=r"^DATABASE_URL is not set and nothing runs here: start `make run` first$"):
        environment.load_running()


def test_a_free_port_is_below_the_ephemeral_range_and_a_listener_takes_it() -> None:
    port = free_port()
    assert LOWEST <= port <= HIGHEST < 32_768
    assert not is_taken(port)
    with socket.create_server(("127.0.0.1", port)):
        assert is_taken(port)
        assert accepts(port)
    assert not accepts(port)


def test_a_port_goes_to_one_process_only_though_nobody_listens_on_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "from devstack.ports import free_port; print(free_port(), flush=True); input()"
    ours = free_port()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        theirs = int(other.stdout.readline())
        tries = iter([ours, theirs, LOWEST - 1])
        monkeypatch.setattr("devstack.ports.random.randint", lambda *_: next(tries))
        assert free_port() == LOWEST - 1
        other.stdin.write("\n")


def test_every_locked_jar_has_a_checksum_and_the_pinned_version() -> None:
    locked = jars.locked_jars()
    assert len({jar.path for jar in locked}) == len(locked) > 30
    assert {len(jar.sha256) for jar in locked} == {64}
    assert {jar.version for jar in locked if jar.group == "org.apache.kafka"} == {jars.KAFKA_VERSION}


def test_a_damaged_jar_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "CACHE", tmp_path)
    digest_of_good = "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c"
    jar = jars.Jar("org.example", "thing", "1.0", digest_of_good)
    assert not jar.is_good()
    jar.path.parent.mkdir(parents=True)
    jar.path.write_bytes(b"good")
    assert jar.is_good()
    jar.path.write_bytes(b"evil")
    assert not jar.is_good()


@pytest.mark.parametrize(
    ("shown", "expected"), [('openjdk version "17.0.15" 2025', True), ('java version "1.8.0_400"', False)]
)
def test_java_on_the_path_is_used_only_when_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str, expected: bool
) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho '{shown}' >&2\n")
    java.chmod(0o755)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert (jars.find_java() == java) is expected


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["exec"], "exec: nothing to run"),
        (["exec", "no-such-program"], "no-such-program: no such program"),
        (["tool", "kafka-nothing"], "kafka-nothing: unknown; there are kafka-configs, kafka-console-consumer"),
    ],
)
def test_a_wrong_command_is_one_line(arguments: list[str], line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "devstack", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode
    assert line in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_postgresqls_tools_are_told_where_the_database_is() -> None:
    told = tool_env("postgres://olga:olg%2Fa@localhost:5433/todos")
    assert ["localhost", "5433", "olga", "olg/a", "todos"] == list(told.values())
    assert ["PGHOST", "PGUSER", "PGDATABASE"] == list(tool_env("postgres://olga@localhost/todos"))
