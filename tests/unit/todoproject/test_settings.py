"""A wrong environment stops the start, in one line that names the variable and keeps its value to itself."""

import os
import runpy
import subprocess
import sys
from unittest.mock import patch

import pytest
from django.core.exceptions import ImproperlyConfigured

from devstack.environment import ROOT
from todoproject.environment import Env

GOOD = {
    "DJANGO_SECRET_KEY": 5 * "s3cret-value",
    "DATABASE_URL": "postgres://user:s3cret-value@db/todos",
    "REDIS_URL": "redis://:s3cret-value@redis/0",
}


def read_settings(**changes: str | None) -> None:
    """Run the settings as a new process would, with this environment."""
    env = {name: value for name, value in (GOOD | changes).items() if value is not None}
    with patch.dict(os.environ, env, clear=True), patch.dict(sys.modules):
        sys.modules.pop("todoproject.environment", None)  # it takes the environment as it is when imported
        runpy.run_path(str(ROOT / "todoproject" / "settings.py"))


def test_a_right_environment_is_read() -> None:
    read_settings()


def test_a_wrong_environment_stops_a_process_with_one_line() -> None:
    env = {"PATH": os.environ["PATH"]} | GOOD | {"DJANGO_LOG_LEVEL": "LOUD"}
    command = [sys.executable, "manage.py", "check"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert done.stderr.startswith("manage.py: DJANGO_LOG_LEVEL: must be DEBUG, INFO")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DJANGO_SECRET_KEY": None}, "Set the DJANGO_SECRET_KEY environment variable"),
        ({"DATABASE_URL": None}, "Set the DATABASE_URL environment variable"),
        ({"REDIS_URL": None}, "Set the REDIS_URL environment variable"),
        ({"DJANGO_SECRET_KEY": "", "DJANGO_DEBUG": "true"}, "DJANGO_SECRET_KEY: must not be empty"),
        ({"DATABASE_URL": "sqlite:///s3cret-value"}, "DATABASE_URL: must start with postgres://"),
        ({"DATABASE_URL": "postgres://u:s3cret-value@h:abc/x"}, "DATABASE_URL: must have a host, and a port"),
        ({"DATABASE_URL": "postgres://"}, "DATABASE_URL: must have a host"),
        ({"DATABASE_URL": "postgres://u:s3cret-value@h"}, "DATABASE_URL: must end in the name of a database"),
        ({"DATABASE_URL": "postgres://u:s3cret-value[@h/x"}, "DATABASE_URL: is not a URL; "),
        ({"DATABASE_URL": "postgres://u:s3cret-value/with#chars@h/x"}, "DATABASE_URL: is not a URL; "),
        ({"REDIS_URL": "s3cret-value"}, "REDIS_URL: must start with redis:// or rediss://"),
        ({"REDIS_URL": "redis://:s3cret-value@h:abc/0"}, "REDIS_URL: must have a host, and a port"),
        ({"REDIS_URL": "redis://:s3cret-value[@h/0"}, "REDIS_URL: is not a URL; "),
        ({"REDIS_URL": "redis://:s3cret-value@h/first"}, "REDIS_URL: must end in the number of a database"),
        ({"DJANGO_ALLOWED_HOSTS": ""}, "DJANGO_ALLOWED_HOSTS: must be names of hosts"),
        ({"DJANGO_ALLOWED_HOSTS": "https://todo.example"}, "DJANGO_ALLOWED_HOSTS: must be names of hosts"),
        ({"DJANGO_CSRF_TRUSTED_ORIGINS": "todo.example"}, "DJANGO_CSRF_TRUSTED_ORIGINS: must be origins"),
        ({"DJANGO_CORS_ORIGINS": "https://a.example?x=1"}, "DJANGO_CORS_ORIGINS: must be origins"),
        ({"DJANGO_LOG_LEVEL": "LOUD"}, "DJANGO_LOG_LEVEL: must be DEBUG, INFO"),
        *(
            ({"DJANGO_SECRET_KEY": secret}, "DJANGO_SECRET_KEY: must be 50 random characters")
            for secret in ("s3cret-value", "$s3cret-value", 99 * "x", f"django-insecure-{5 * 's3cret-value'}")
        ),
        ({"DJANGO_API_AUTH": "open"}, "DJANGO_API_AUTH: must be token, unless DJANGO_DEBUG is true"),
        ({"DJANGO_API_AUTH": "none"}, "DJANGO_API_AUTH: must be token or open"),
        ({"DJANGO_DEBUG": "perhaps"}, "DJANGO_DEBUG: "),
        ({"KAFKA_TOPIC": "two words"}, "KAFKA_TOPIC: "),
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka"}, "KAFKA_BOOTSTRAP_SERVERS: must be host:port"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SASL_MECHANISM: required when KAFKA_SECURITY_PROTOCOL is"),
        ({"KAFKA_SSL_CAFILE": "/not/there"}, "KAFKA_SSL_CAFILE: no such file"),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_kept(changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        read_settings(**changes)

    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1
    assert "s3cret-value" not in str(caught.value)


@pytest.mark.parametrize("value", ["$HOME", "$$", r"\$a\\$b$", "a$HOME"])
def test_a_dollar_names_no_other_variable(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SECRET_KEY", value)
    assert value == Env(DJANGO_SECRET_KEY=str)("DJANGO_SECRET_KEY")
