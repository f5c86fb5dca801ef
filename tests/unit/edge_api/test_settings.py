"""The edge starts only with settings that make sense; a wrong one is one line with its name."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge_api.settings import load_settings
from edge_api.shared.env import ConfigError

ROOT = Path(__file__).parents[3]
OPEN = {"EDGE_AUTH": "open"}
WORD = "s3cret"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EDGE_PORT", "0"),
        ("EDGE_PORT", "65536"),
        ("EDGE_PORT", "http"),
        ("EDGE_PUBLIC_API_URL", "localhost:7008"),
        ("EDGE_PUBLIC_API_URL", "ftp://example.com"),
        ("EDGE_PUBLIC_API_URL", "http://example.com/?page=1"),
        ("EDGE_ACK_TIMEOUT_SECONDS", "0"),
        ("EDGE_ACK_TIMEOUT_SECONDS", "5"),
        ("EDGE_ACK_TIMEOUT_SECONDS", "nan"),
        ("EDGE_MAX_IN_FLIGHT_RECORDS", "999"),  # a batch of 1,000 would never fit in
        ("EDGE_MAX_IN_FLIGHT_BYTES", "1048576"),
        ("EDGE_RATE_LIMIT_PER_OWNER", "-1"),
        ("EDGE_PUBLIC_API_URL", f"http://user:{WORD}@example.com"),
        ("EDGE_REDIS_URL", "localhost:6379"),
        ("EDGE_REDIS_URL", f"redis://:{WORD}@h:abc/0"),
        ("EDGE_REDIS_URL", f"redis://:{WORD}@h/0?socket_timeout={WORD}"),
        ("EDGE_REDIS_URL", f"redis://:{WORD}@h/0?{WORD}=1"),
        ("EDGE_CORS_ORIGINS", "https://*"),
        ("EDGE_TRUSTED_PROXIES", "*"),
        ("EDGE_TRUSTED_PROXIES", "192.0.2.1, proxy"),
        ("EDGE_LOG_LEVEL", "LOUD"),
        ("EDGE_AUTH", "none"),
        ("EDGE_JWKS_MAX_AGE_SECONDS", "29"),
        ("EDGE_JWKS_MAX_AGE_SECONDS", "604801"),
        ("EDGE_JWKS", "/not/there.json"),
        ("EDGE_JWKS", "ftp://example.com/jwks.json"),
        ("EDGE_JWKS", f"http://user:{WORD}@example.com/jwks.json"),
        ("EDGE_JWKS", f"http://user:{WORD}@:abc/"),
        ("KAFKA_TOPIC", "to do"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(OPEN | {name: value})
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)
    assert WORD not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "EDGE_JWKS: required unless EDGE_AUTH is open"),
        *(
            ({"EDGE_AUTH": "open", "EDGE_HOST": host}, "EDGE_AUTH: must be token, unless EDGE_HOST is a loopback")
            for host in ("0.0.0.0", "::", "192.0.2.1", "todo.example")
        ),
    ],
)
def test_an_edge_is_not_open_by_mistake(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_an_edge_may_be_open_where_only_this_machine_reaches_it(host: str) -> None:
    assert "open" == load_settings(OPEN | {"EDGE_HOST": host}).edge.auth


def test_every_wrong_variable_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(OPEN | {"EDGE_PORT": "0", "KAFKA_TOPIC": "to do"})
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["EDGE_PORT", "KAFKA_TOPIC"]


def test_the_base_url_may_end_in_a_slash_and_the_level_be_small() -> None:
    edge, _ = load_settings(OPEN | {"EDGE_PUBLIC_API_URL": "https://example.com/todo/", "EDGE_LOG_LEVEL": "debug"})
    assert (edge.public_api_url, edge.log_level) == ("https://example.com/todo", "DEBUG")


def test_the_base_url_is_made_safe_for_headers_and_json() -> None:
    edge, _ = load_settings(OPEN | {"EDGE_PUBLIC_API_URL": 'http://b\u00fccher.example/\u4e00"'})
    assert edge.public_api_url == "http://xn--bcher-kva.example/%E4%B8%80%22"


@pytest.mark.parametrize(
    "command", [["-m", "edge_api"], ["-m", "uvicorn", "--factory", "edge_api.main:create_app", "--port", "0"]]
)
def test_a_wrong_variable_ends_the_process_with_one_line(command: list[str]) -> None:
    process = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=OPEN | {"EDGE_ACK_TIMEOUT_SECONDS": "60"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode != 0
    assert process.stderr.splitlines() == ["EDGE_ACK_TIMEOUT_SECONDS: Input should be less than or equal to 4.5"]
