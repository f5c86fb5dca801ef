"""manage.py dead_letters, for a person and for a script."""

import base64
import io
import json
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection

from devstack.environment import ROOT
from tests.support.dead_letters import Poison, history
from tests.support.manage import nowhere
from tests.support.topic import Topic
from todos.dead_letters import service as dead_letters
from todos.models import DeadLetter

pytestmark = pytest.mark.django_db(transaction=True)
GOOD = b'{"title": "Do homework"}'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(*arguments: object, out: io.StringIO | None = None) -> str:
    out = out or io.StringIO()
    call_command("dead_letters", *map(str, arguments), stdout=out, stderr=out)
    return out.getvalue()


def fail(*arguments: object) -> tuple[int, str]:
    """The exit code, and everything that was said."""
    out = io.StringIO()
    with pytest.raises(CommandError) as failure:
        run(*arguments, out=out)
    assert "\n" not in str(failure.value)
    return failure.value.returncode, f"{out.getvalue()}{failure.value}"


def make(offset: int = 1, **fields: Any) -> DeadLetter:
    fields = {"topic": "t", "partition": 0, "reason": "invalid", "detail": "d", "value": b"x"} | fields
    return DeadLetter.objects.create(offset=offset, **fields)


def statuses() -> list[str]:
    return list(DeadLetter.objects.order_by("offset").values_list("status", flat=True))


def test_list_for_a_script_is_one_safe_line_each() -> None:
    letter = make(detail="[red]a\tb\nc\x1b[2J")
    heading, line = run("list").splitlines()
    assert heading.split("\t") == ["id", "position", "status", "reason", "replays", "created_at", "detail"]
    cells = line.split("\t")
    assert (cells[:5], cells[6]) == ([str(letter.pk), "t/0/1", "open", "invalid", "0"], "[red]a\\tb c\\x1b[2J")


def test_list_for_a_person_is_a_table_without_a_strangers_markup() -> None:
    make(detail="[red]a")
    table = run("list", out=Terminal())
    assert "┃" in table
    assert "[red]" in table


def test_list_filters_and_limits() -> None:
    make(1, partition=3)
    make(2, reason="empty", status="discarded")
    make(3, created_at="2026-01-31T10:00:00Z")

    def found(*arguments: object) -> list[str]:
        return [letter["position"] for letter in json.loads(run("list", "--json", *arguments))]

    assert found() == ["t/0/3", "t/3/1"]
    assert found("--status", "all") == ["t/0/3", "t/0/2", "t/3/1"]
    assert found("--status", "discarded") == ["t/0/2"]
    assert found("--reason", "empty", "--status", "all") == ["t/0/2"]
    assert found("--partition", 3) == ["t/3/1"]
    assert found("--limit", 1) == ["t/0/3"]
    assert found("--since", "2h") == ["t/3/1"]
    assert found("--since", "2026-01-31") == ["t/0/3", "t/3/1"]
    assert found("--since", "2026-01-31T10:00:01") == ["t/3/1"]


def test_show_tells_everything() -> None:
    letter = make(value=b"\xff\x1b[2J" + b"x" * 9000, key=b"\x00", headers=[["h", "AAE="], ["null", None]])
    dead_letters.edit(letter.pk, GOOD, by="olga")
    text = run("show", letter.pk)
    for part in (
        "\\xff\\x1b[2J",
        "x" * 9000,
        "h: \\x00\\x01",
        "null: none",
        '{"title": "Do homework"}',
        "edited by olga",
    ):
        assert part in text
    assert "\x1b" not in text

    shown = json.loads(run("show", letter.pk, "--json"))
    assert base64.b64decode(shown["value"]) == bytes(letter.value or b"")
    assert base64.b64decode(shown["edited_value"]) == GOOD
    assert shown["headers"] == [["h", "AAE="], ["null", None]]
    assert [(event["actor"], event["action"]) for event in shown["events"]] == [("olga", "edited")]


def test_redrive_sends_what_it_can_and_fails_for_the_rest(topic: Topic, poison: Poison) -> None:
    good, bad = poison(), poison(partition=1)
    dead_letters.edit(good.pk, GOOD, by="olga")
    refusal = f"{bad.pk}: {bad}: not valid: title: String should have at least 1 character\n"

    assert fail("redrive", "--all", "--dry-run") == (
        1,
        f"{refusal}1 would be redriven, 1 refused\n1 of 2 refused",
    )
    assert statuses() == ["open", "open"]
    assert fail("redrive", "--all", "--rate", 50) == (1, f"{refusal}1 redriven, 1 refused\n1 of 2 refused")
    assert topic.poll().stored == 1
    assert history(good) == [("edited", "olga"), ("redriven", "manage.py")]


def test_redrive_by_id(topic: Topic, poison: Poison) -> None:
    letter = poison()
    dead_letters.edit(letter.pk, GOOD, by="olga")
    assert run("redrive", letter.pk, letter.pk) == "1 redriven, 0 refused\n"
    code, text = fail("redrive", letter.pk, 4711)
    assert code == 1
    assert f"{letter}: is redriven, by manage.py at " in text
    assert "4711: there is no dead letter 4711\n" in text
    assert topic.poll().stored == 1


def test_kafka_away_is_one_line_that_says_how_far_it_came(settings: Any, topic: Topic, poison: Poison) -> None:
    letter = poison()
    dead_letters.edit(letter.pk, GOOD, by="olga")
    settings.KAFKA = nowhere(topic.kafka)
    code, text = fail("redrive", "--partition", 0)
    assert (code, statuses()) == (1, ["open"])
    assert text.startswith("0 redriven, 0 refused, 1 left as they were. Kafka at 127.0.0.1:9 did not acknowledge: ")


def test_discard_keeps_the_reason() -> None:
    letters = [make(offset) for offset in range(3)]
    assert run("discard", "--all", "--because", "test data", "--dry-run") == "3 would be discarded, 0 refused\n"
    assert statuses() == ["open"] * 3
    assert run("discard", "--all", "--limit", 2, "--because", "test data") == "2 discarded, 0 refused\n"
    assert statuses() == ["discarded", "discarded", "open"]
    assert letters[0].events.values_list("actor", "note").get() == ("manage.py", "test data")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("redrive", "name ids, or filters, or --all, but not both"),
        ("redrive 1 --all", "name ids, or filters, or --all, but not both"),
        ("redrive --all --rate 0", "--rate: must be a number above 0"),
        ("redrive --all --rate nan", "--rate: must be a number above 0"),
        ("redrive --all --limit 0", "--limit: must be a whole number above 0"),
        ("discard 1", "the following arguments are required: --because"),
        ("discard 1 --because=", "--because must not be empty"),
        ("list --since yesterday", "--since: 'yesterday' is neither an ISO date or time nor a duration like 2h"),
        ("list --since 999999d", "--since: '999999d' is too long ago"),
        ("list --reason strange", "--reason: invalid choice: 'strange'"),
        ("show", "the following arguments are required: id"),
        ("", "the following arguments are required: list|show|redrive|discard"),
    ],
)
def test_wrong_usage_is_one_line_and_changes_nothing(arguments: str, message: str) -> None:
    make()
    assert message in fail(*arguments.split())[1]
    assert statuses() == ["open"]


def test_exit_codes_of_the_process() -> None:
    make()
    for arguments, code, out, err in (
        (["list", "--status", "discarded"], 0, "id\t", ""),
        (["discard", "--all", "--because", "test data"], 0, "1 discarded, 0 refused", ""),
        (["discard", "--status", "all", "--because", "test data"], 1, "0 discarded, 1 refused", "1 of 1 refused"),
        (["redrive"], 2, "", "CommandError: name ids, or filters, or --all, but not both"),
        (["redrive", "--rate", "0"], 2, "", "error: argument --rate: must be a number above 0"),
    ):
        done = manage(*arguments)
        assert (done.returncode, done.stdout[: len(out)]) == (code, out), arguments
        assert done.stderr.rstrip().endswith(err), arguments


def manage(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """As a shell runs it, on the database of this test."""
    database = connection.settings_dict
    url = f"postgres://{database['USER']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    env = {"DATABASE_URL": url, "REDIS_URL": django_settings.CELERY_BROKER_URL, "DJANGO_DEBUG": "true"}
    return subprocess.run(
        [sys.executable, "manage.py", "dead_letters", *arguments],
        cwd=ROOT,
        env=env | {"DJANGO_SECRET_KEY": "only for tests"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
