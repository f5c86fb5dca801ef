"""manage.py pipeline_status, for scripts and for operators who watch, with each of the services unavailable."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from redis import Redis

from devstack import Kafka
from devstack.environment import ROOT
from devstack.ports import free_port
from tests.support.manage import NOWHERE, environment, manage, run, start
from tests.support.proxy import Proxy
from tests.support.terminal import Terminal
from tests.support.topic import Topic, event
from todos.models import DeadLetter, OffsetLoss, PartitionLedger, PollRun
from todos.monitoring.probes import close_services
from todos.operations.schedules import POLL_SCHEDULE, POLL_TASK, create_default_schedules

pytestmark = pytest.mark.django_db(transaction=True)
NO_DATABASE = {"DATABASE_URL": f"postgres://todos@{NOWHERE}/todos"}
WATCH = [sys.executable, "manage.py", "pipeline_status", "--watch", "0.2"]


def status(*, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    done = manage("pipeline_status", "--json", env=env) if env else run("pipeline_status", "--json")
    return done.code, json.loads(done.out)


@pytest.fixture(autouse=True)
def polled(topic: Topic, queue: Redis) -> None:
    """Beat ticks and polls end, by what the database and the queue contain."""
    create_default_schedules()
    run_ended(topic.kafka.topic)


def run_ended(topic: str) -> None:
    counts = dict.fromkeys(("batches", "stored", "duplicates", "dead_letters", "lost", "failures"), 0)
    PollRun.objects.create(topic=topic, worker="w", started_at=timezone.now() + timedelta(minutes=5), **counts)


# --- For a script


def test_json_has_the_documented_keys_and_the_numbers(topic: Topic) -> None:
    topic.send(event(), event(), event())
    topic.poll()
    topic.send(event(), event())
    started = time.time()

    code, report = status()

    assert (0, "ok", []) == (code, report["state"], report["problems"])
    assert datetime.fromisoformat(report.pop("at")).timestamp() >= int(started)
    assert {"kafka", "redis", "database", "beat", "workers"} == report.pop("parts").keys()
    first, *others = report.pop("partitions")
    assert 604_700 < report.pop("deleted_in_seconds") <= 604_800
    assert {
        "topic": topic.kafka.topic,
        "state": "ok",
        "problems": [],
        "diagnosis": [],
        "kafka_error": None,
        "database_error": None,
        "lag": 2,
        "lost": 0,
        "open_dead_letters": 0,
        "paused_schedules": [],
        "retention_seconds": 604_800.0,
        "retention_bytes": None,
    } == report
    assert first.pop("moved_at").startswith(f"{timezone.now():%Y-%m-%d}")
    assert 604_700 < first.pop("deleted_in_seconds") <= 604_800
    numbers = {"next_offset": 3, "end": 5, "lag": 2, "leased_by": None, "lost": 0, "alarm": None}
    assert {"partition": 0} | numbers == first
    assert [1, 2] == [other["partition"] for other in others]


def alarm(topic: Topic) -> str:
    PartitionLedger.objects.create(topic=topic.kafka.topic, partition=0, halt_text="most of the batch is bad")
    return "partition 0 is halted: most of the batch is bad"


def dead_letter(topic: Topic) -> str:
    DeadLetter.objects.create(topic="any", partition=0, offset=1, reason="invalid", detail="d")
    DeadLetter.objects.create(topic="any", partition=0, offset=2, reason="invalid", detail="d", status="discarded")
    return "1 dead letter is open"


def lose(topic: Topic, **fields: Any) -> None:
    PartitionLedger.objects.get_or_create(topic=topic.kafka.topic, partition=0)
    OffsetLoss.objects.create(topic=topic.kafka.topic, partition=0, first_offset=3, next_offset=10, **fields)


def loss(topic: Topic) -> str:
    lose(topic)
    return "partition 0: Kafka deleted 7 offsets in the last day before they were stored"


def imminent_loss(topic: Topic) -> str:
    topic.configure(retention_ms=1_800_000)
    topic.send(event())
    return "Kafka may delete unread todos in "


def pause(topic: Topic) -> str:
    run("pause_polling")
    return f"polling is paused: {POLL_SCHEDULE}"


def silence(topic: Topic) -> str:
    PollRun.objects.update(started_at=timezone.now() - timedelta(minutes=1))
    return "Beat: silent: no tick waits and no poll starts"


@pytest.mark.parametrize("happens", [alarm, dead_letter, loss, imminent_loss, pause, silence])
def test_what_needs_an_operator_is_exit_code_1(topic: Topic, happens: Callable[[Topic], str]) -> None:
    text = happens(topic)
    code, report = status()
    assert (1, "attention", 1) == (code, report["state"], len(report["problems"]))
    assert report["problems"][0].startswith(text)
    assert f"docs/runbook.md#{report['diagnosis'][0]['code']}" == report["diagnosis"][0]["runbook"]
    done = run("pipeline_status")
    assert (1, True) == (done.code, done.said.startswith(text))
    assert f"topic {topic.kafka.topic}" in done.out


def test_times_that_no_date_can_hold_are_as_good_as_never(topic: Topic, admin_client: Client) -> None:
    """From Kafka's settings, a producer's clock and an operator's interval."""
    names = ("retention_ms", "message_timestamp_after_max_ms", "message_timestamp_before_max_ms")
    topic.configure(**dict.fromkeys(names, 2**63 - 1))
    for partition, timestamp in enumerate((2**63 - 1, 2**62)):
        topic.send(event(), partition=partition, timestamp_ms=timestamp)
    longest = IntervalSchedule.objects.create(every=2**31 - 1, period=IntervalSchedule.DAYS)
    PeriodicTask.objects.create(name="in a long time", task=POLL_TASK, interval=longest)

    code, report = status()

    assert (0, [], 2) == (code, report["problems"], report["lag"])
    assert (None, None) == (report["retention_seconds"], report["deleted_in_seconds"])
    assert "2 records of" in run("resume_polling").out
    close_services()
    assert {200} == {
        admin_client.get(path).status_code for path in ("/admin/pipeline/", "/metrics", "/readyz/pipeline")
    }


def test_the_page_the_command_and_the_probe_say_the_same(topic: Topic, admin_client: Client) -> None:
    for happens in (None, dead_letter, alarm, silence):
        if happens:
            happens(topic)
        close_services()  # which keep their results for a few seconds
        _, report = status()
        panels = unescape(admin_client.get("/admin/pipeline/").content.decode())
        for problem in report["problems"]:
            assert f"<span>{problem[0].upper()}{problem[1:]}." in panels
        assert len(report["problems"]) == panels.count('role="alert"')
        probe = admin_client.get("/readyz/pipeline").json()
        assert report["diagnosis"] == probe["problems"]


def test_what_waits_behind_a_halted_partition_is_counted_everywhere(topic: Topic, admin_client: Client) -> None:
    topic.send(event(), event(), event())
    text = f"{alarm(topic)}; 3 records wait behind it"
    _, report = status()
    close_services()
    assert [text] == report["problems"]
    assert f"{text[0].upper()}{text[1:]}." in unescape(admin_client.get("/admin/pipeline/").content.decode())
    assert [text] == [problem["text"] for problem in admin_client.get("/readyz/pipeline").json()["problems"]]


def test_an_old_loss_and_a_skipped_range_need_no_operator(topic: Topic) -> None:
    interval = PeriodicTask.objects.get(name=POLL_SCHEDULE).interval
    PeriodicTask.objects.create(name="another", task=POLL_TASK, interval=interval, enabled=False)
    topic.poll()
    lose(topic, created_at=timezone.now() - timedelta(days=2))
    lose(topic, cause=OffsetLoss.Cause.SKIPPED)
    code, report = status()
    assert (0, [], 14) == (code, report["problems"], report["lost"])


def test_without_kafka_it_shows_what_the_database_knows(topic: Topic, kafka_away: str) -> None:
    PartitionLedger.objects.create(topic=topic.kafka.topic, partition=4, next_offset=1234, halt_text="bad batch")
    code, report = status()
    assert (2, "unreachable", None) == (code, report["state"], report["lag"])
    assert kafka_away in report["kafka_error"]
    assert [(4, 1234, None, None)] == [
        (row["partition"], row["next_offset"], row["end"], row["lag"]) for row in report["partitions"]
    ]
    assert "partition 4 is halted: bad batch" == report["problems"][-1]
    done = run("pipeline_status")
    assert (2, True) == (done.code, "1,234" in done.out)
    assert done.said.startswith(f"Kafka: unreachable at {kafka_away}: ")


def test_without_the_database_it_says_so_and_whether_kafka_answers(topic: Topic) -> None:
    code, report = status(env=NO_DATABASE)
    assert (2, "unreachable", None, []) == (code, report["state"], report["kafka_error"], report["partitions"])
    assert "Connection refused" in report["database_error"]
    done = manage("pipeline_status", env=NO_DATABASE | {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE})
    assert 2 == done.code
    assert "Database: unreachable: " in done.said
    assert f"Kafka: unreachable at {NOWHERE}: " in done.said
    assert 2 == len(done.said.splitlines())


# --- For an operator who watches


def test_watch_shows_what_changes_and_clears_itself(topic: Topic) -> None:
    with Terminal(WATCH, environment()) as terminal:
        terminal.wait_for("\x1b[?1049h")  # a screen of its own
        terminal.wait_for(" UTC  ok")
        topic.send(*[event()] * 1234)
        terminal.wait_for("1,234")
        dead_letter(topic)
        terminal.wait_for("1 dead letter is open")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 0
    assert terminal.seen.rstrip().endswith(("\x1b[?1049l\x1b[?25h", "\x1b[?25h\x1b[?1049l"))
    assert "Traceback" not in terminal.seen


def test_watch_continues_while_the_database_is_unavailable(topic: Topic) -> None:
    topic.send(event())
    with Proxy(int(connection.settings_dict["PORT"]), free_port()) as proxy:
        env = environment()
        env["DATABASE_URL"] = env["DATABASE_URL"].replace(f":{proxy.target}/", f":{proxy.port}/")
        with Terminal(WATCH, env) as terminal:
            terminal.wait_for("leased by")
            proxy.close()
            terminal.wait_for("Database: unreachable: ")
            proxy.open()
            terminal.wait_for("leased by")
            terminal.process.send_signal(signal.SIGINT)
            assert terminal.wait() == 0


@pytest.mark.usefixtures("own_topic")
def test_watch_continues_while_kafka_is_unavailable(own_kafka: Kafka) -> None:
    run_ended(django_settings.KAFKA.topic)
    with Terminal(WATCH, environment()) as terminal:
        terminal.wait_for(" UTC  ok")
        own_kafka.pause()
        try:
            terminal.wait_for("Kafka: unreachable at ")
        finally:
            own_kafka.resume()
        terminal.wait_for(" UTC  ok")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 0


def test_watch_in_a_pipe_is_a_line_of_json_each_time(topic: Topic) -> None:
    watching = start("pipeline_status", "--watch", 0.1, "--json")
    try:
        assert watching.stdout is not None
        reports = [json.loads(watching.stdout.readline()) for _ in range(3)]
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=120)
    finally:
        watching.kill()
        watching.wait()
    assert ["ok"] * 3 == [report["state"] for report in reports]
    assert (0, "") == (watching.returncode, said)


def test_watch_ends_quietly_when_its_pipe_closes(topic: Topic) -> None:
    shell = f"{sys.executable} manage.py pipeline_status --watch 0.1 | head -1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True, timeout=200
    )
    assert (done.stdout, done.stderr) == ("141\n", "")


@pytest.mark.parametrize("seconds", ["0", "-1", "often"])
def test_watch_takes_a_time_above_0(seconds: str) -> None:
    done = run("pipeline_status", f"--watch={seconds}")
    assert "--watch: must be a number above 0" in done.said
