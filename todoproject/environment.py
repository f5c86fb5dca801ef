"""How variables of the environment are read; settings.py says which. Each raises ImproperlyConfigured with the name."""

import os
import re
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from edge_api.shared.urls import check_redis_url, check_url, is_origin


def read(name: str, default: str | None = None) -> str:
    """Not by environ, which takes what begins with a $ for the name of another variable, and shows it."""
    value = os.environ.get(name, default)
    if value is None:
        raise ImproperlyConfigured(f"Set the {name} environment variable")
    return value


def read_list(name: str, default: str = "") -> list[str]:
    return [part for part in read(name, default).split(",") if part]


def read_redis_url(name: str) -> str:
    try:
        check_redis_url(url := read(name))
    except ValueError as exc:
        raise ImproperlyConfigured(f"{name}: {exc}") from None
    return url


def read_database(name: str) -> dict[str, Any]:
    try:
        check_url(url := read(name), "postgres", "postgresql", "pgsql")
        database: dict[str, Any] = environ.Env.db_url_config(url)
    except ValueError as exc:
        raise ImproperlyConfigured(f"{name}: {exc}") from None
    if not database["NAME"]:
        raise ImproperlyConfigured(f"{name}: must end in the name of a database")
    return database


def read_origins(name: str, *, wildcard: bool = False) -> list[str]:
    origins = read_list(name)
    if not all(is_origin(origin, wildcard=wildcard) for origin in origins):
        raise ImproperlyConfigured(f"{name}: must be origins such as https://todo.example, separated by commas")
    return origins


def read_bool(name: str, *, default: bool) -> bool:
    value = read(name, str(default)).lower()
    if value not in {"true", "false", "1", "0"}:
        raise ImproperlyConfigured(f"{name}: must be true or false")
    return value in {"true", "1"}


def read_rate(name: str) -> str | None:
    rate = read(name, "")
    if rate and not re.fullmatch(r"[1-9]\d{0,6}/(second|minute|hour)", rate):
        raise ImproperlyConfigured(f"{name}: must be a number of requests, as in 600/minute")
    return rate or None
