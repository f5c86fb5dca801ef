"""manage.py, called in this process or as a process of its own, and a Kafka address where nothing answers."""

import io
import os
import subprocess
import sys
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from devstack.environment import ROOT
from edge_api.shared.kafka_settings import KafkaSettings

NOWHERE = "127.0.0.1:9"


class Done(NamedTuple):
    """The result of a command; `said` is everything on standard error, and the error itself."""

    code: int
    out: str
    said: str


def run(*arguments: object) -> Done:
    """Call the command in this process."""
    out, said = io.StringIO(), io.StringIO()
    name, *rest = map(str, arguments)
    try:
        call_command(name, *rest, stdout=out, stderr=said)
    except CommandError as exc:
        return Done(exc.returncode, out.getvalue(), f"{said.getvalue()}{exc}")
    return Done(0, out.getvalue(), said.getvalue())


def environment() -> dict[str, str]:
    """Return the environment of a process that uses the database and the topic of this test."""
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
    """Start the command as a process; the caller ends it."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    command = [sys.executable, "manage.py", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment() | (env or {}), text=True, **pipes)


def manage(*arguments: object, stdin: str = "", env: dict[str, str] | None = None) -> Done:
    """Run the command as a process until it ends."""
    process = start(*arguments, env=env)
    try:
        out, said = process.communicate(stdin, timeout=120)
    finally:
        process.kill()
        process.wait()
    return Done(process.returncode, out, said)


def nowhere(kafka: KafkaSettings) -> KafkaSettings:
    """Return the same settings with an address where nothing answers."""
    return kafka.model_copy(update={"bootstrap_servers": NOWHERE})
