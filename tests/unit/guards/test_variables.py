"""All that edge and Django read from the environment stands in the README, in .env.example and in compose.yml."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from docker.variables import DJANGO, EDGE, KAFKA

ROOT = Path(__file__).resolve().parents[3]
README, EXAMPLE = ((ROOT / path).read_text() for path in ("README.md", ".env.example"))
COMPOSE = [(ROOT / name).read_text() for name in ("compose.yml", "compose.brokers.yml")]

TABLE = README.partition("\n## Configure it\n")[2].partition("\n## ")[0]
EXPLAINED = {name for row in re.findall(r"^\| (`.*?) \|", TABLE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
IN_EXAMPLE = set(re.findall(r"^#?([A-Z][A-Z_]+)=", EXAMPLE, re.MULTILINE))
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE[0])["services"]

# The images say where the edge listens and how logs look; compose is no place for debugging; its broker is its own.
FIXED = {
    "edge": KAFKA - {"KAFKA_BOOTSTRAP_SERVERS"} | {"EDGE_HOST", "EDGE_PORT", "EDGE_LOG_FORMAT"},
    "web": KAFKA - {"KAFKA_BOOTSTRAP_SERVERS"} | {"DJANGO_DEBUG", "DJANGO_API_AUTH", "DJANGO_LOG_FORMAT"},
}


def test_they_are_found() -> None:
    assert {"DATABASE_URL", "REDIS_URL", "DJANGO_DEBUG", "DJANGO_API_RATE_LIMIT", "DJANGO_CORS_ORIGINS"} <= DJANGO
    assert {"EDGE_AUTH", "EDGE_CORS_ORIGINS", "KAFKA_TOPIC"} <= EDGE | KAFKA


def test_the_readme_explains_each() -> None:
    assert set() == (EDGE | KAFKA | DJANGO) - EXPLAINED


def test_the_readme_explains_what_compose_takes() -> None:
    taken = {name for text in COMPOSE for name in re.findall(r"\$\{(\w+)", text)}
    assert set() == taken - EXPLAINED


def test_the_example_names_each_and_no_other() -> None:
    assert set() == (EDGE | KAFKA | DJANGO) - IN_EXAMPLE
    assert set() == IN_EXAMPLE - EXPLAINED


@pytest.mark.parametrize(("service", "read"), [("edge", EDGE | KAFKA), ("web", DJANGO | KAFKA)])
def test_compose_passes_each_on(service: str, read: set[str]) -> None:
    assert FIXED[service] == read - SERVICES[service]["environment"].keys()
