"""The variables of the environment that settings.py reads: one table with the type and the default of each."""

import os
import re
from collections.abc import Callable
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from edge_api.shared.log_formats import FORMATS
from edge_api.shared.urls import check_redis_url, check_url, is_origin


class Env(environ.Env):  # type: ignore[misc]
    """Read variables with django-environ. Errors name the variable and never show its value."""

    def __init__(self, **scheme: Any) -> None:
        """Take the environment as it is now; a variable that `scheme` gives no default is required."""
        super().__init__(**scheme)
        self.smart_cast = False
        # environ takes a value that begins with $ for the name of another variable and shows it in its error.
        self.ENVIRON = {name: value.replace("$", r"\$") for name, value in os.environ.items()}
        self.escape_proxy = True  # removes the backslashes

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        """Convert the variable as its type says. Raises ImproperlyConfigured."""
        try:
            return super().get_value(var, *args, **kwargs)
        except ValueError as exc:
            raise ImproperlyConfigured(f"{var}: {exc}") from None

    def has_default(self, var: str) -> bool:
        return isinstance(self.scheme[var], tuple)


# --- Types: each converts the text of a variable, or raises ValueError with what it must be


def boolean(text: str) -> bool:
    """Convert true, false, 1 or 0; environ's own would take a misspelled word for false."""
    if text.lower() not in {"true", "false", "1", "0"}:
        raise ValueError("must be true or false")
    return text.lower() in {"true", "1"}


def one_of(*choices: str) -> Callable[[str], str]:
    """Make a type of these words, in capital or small letters."""
    *others, last = choices

    def convert(text: str) -> str:
        for choice in choices:
            if choice.lower() == text.lower():
                return choice
        raise ValueError(f"must be {', '.join(others)} or {last}")

    return convert


def not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def hosts(text: str) -> list[str]:
    names: list[str] = environ.Env.parse_value(text, list)
    if not all(re.fullmatch(r"\*|[\w.-]+|\[[\da-f:.]+\]", name) for name in names):
        raise ValueError("must be names of hosts, without port, separated by commas")
    return names


def origins(text: str, *, wildcard: bool = False) -> list[str]:
    found: list[str] = environ.Env.parse_value(text, list)
    if not all(is_origin(origin, wildcard=wildcard) for origin in found):
        raise ValueError("must be origins such as https://todo.example, separated by commas")
    return found


def rate(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{0,6}/(second|minute|hour)", text):
        raise ValueError("must be a number of requests, as in 600/minute")
    return text


def database(text: str) -> dict[str, Any]:
    check_url(text, "postgres", "postgresql", "pgsql")
    config: dict[str, Any] = environ.Env.db_url_config(text)
    if not config["NAME"]:
        raise ValueError("must end in the name of a database")
    return config


def redis_url(text: str) -> str:
    check_redis_url(text)
    return text


env = Env(
    DJANGO_DEBUG=(boolean, False),
    DJANGO_SECRET_KEY=not_empty,
    DJANGO_API_AUTH=(one_of("token", "open"), "token"),
    DJANGO_ALLOWED_HOSTS=(hosts, ["localhost", "127.0.0.1"]),
    DJANGO_CSRF_TRUSTED_ORIGINS=(lambda text: origins(text, wildcard=True), []),
    DJANGO_CORS_ORIGINS=(origins, []),
    DJANGO_SECURE_SSL_REDIRECT=(boolean, None),  # settings.py: true unless DJANGO_DEBUG
    DJANGO_BEHIND_PROXY=(boolean, False),
    DJANGO_API_RATE_LIMIT=(rate, None),
    DJANGO_TRACING=(boolean, False),
    DJANGO_LOG_LEVEL=(one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), "INFO"),
    DJANGO_LOG_FORMAT=(one_of(*FORMATS), "line"),
    DATABASE_URL=database,
    REDIS_URL=redis_url,
)
