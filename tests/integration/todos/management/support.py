"""manage.py: called here, or as a process of its own."""

import io
import os
import subprocess
import sys
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from devstack.environment import ROOT
from tests.support.topic import Topic

NOWHERE = "127.0.0.1:9"


class Done(NamedTuple):
    """`said` is everything on standard error, and the error itself."""

    code: int
    out: str
    said: str


def run(*arguments: object) -> Done:
    out, said = io.StringIO(), io.StringIO()
    name, *rest = map(str, arguments)
    try:
        call_command(name, *rest, stdout=out, stderr=said)
    except CommandError as exc:
        return Done(exc.returncode, out.getvalue(), f"{said.getvalue()}{exc}")
    return Done(0, out.getvalue(), said.getvalue())


def environment() -> dict[str, str]:
    """Of a process that uses the database and the topic of this test."""
    database = connection.settings_dict
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": f"postgres://{database['USER']}@{database['HOST']}:{database['PORT']}/{database['NAME']}",
        "REDIS_URL": settings.CELERY_BROKER_URL,
        "KAFKA_BOOTSTRAP_SERVERS": settings.KAFKA.bootstrap_servers,
        "KAFKA_TOPIC": settings.KAFKA.topic,
        "DJANGO_SECRET_KEY": "only for tests",
        "DJANGO_DEBUG": "true",
    }


def start(*arguments: object, env: dict[str, str] | None = None, **options: Any) -> "subprocess.Popen[str]":
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    command = [sys.executable, "manage.py", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment() | (env or {}), text=True, **pipes)


def manage(*arguments: object, stdin: str = "", env: dict[str, str] | None = None) -> Done:
    process = start(*arguments, env=env)
    try:
        out, said = process.communicate(stdin, timeout=120)
    finally:
        process.kill()
        process.wait()
    return Done(process.returncode, out, said)


def records_in(topic: Topic) -> int:
    """How many the topic holds."""
    log = topic.log()
    return sum(span.end for span in log.offset_ranges(log.partitions()).values())
