"""Types of arguments that several commands take, and the examples in their help."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.core.management.base import CommandError, DjangoHelpFormatter

BIGINT_MAX = 2**63 - 1
FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class _Formatter(DjangoHelpFormatter):
    """Wraps the description, but not the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


def add_examples(parser: ArgumentParser, text: str) -> None:
    """End the help with `text`, which begins with a line "examples:"."""
    parser.formatter_class = _Formatter
    parser.epilog = text.strip()


def add_format(parser: ArgumentParser, default: str) -> None:
    """Add --format; `default` tells in the help how the format is chosen without it."""
    parser.add_argument("--format", choices=sorted(set(FORMATS.values())), help=f"default: {default}")


def format_of(path: Path, option: str | None) -> str:
    """Return the value of --format, or else what the file's name ends with. Raises CommandError."""
    if file_format := option or FORMATS.get(path.suffix):
        return file_format
    raise CommandError(f"--format: csv or jsonl? The name {path} does not say", returncode=2)


DURATION, UNITS = re.compile(r"(\d{1,6})([smhd])"), {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Parse a duration like 30s, 2h or 7d."""
    if match := DURATION.fullmatch(text):
        return timedelta(**{UNITS[match[2]]: int(match[1])})
    raise ArgumentTypeError(f"{text!r} is no duration like 2h")


def duration_between(least: str, most: str) -> Callable[[str], timedelta]:
    """Return a parser of durations with these bounds, both included."""

    def bounded(text: str) -> timedelta:
        if not duration(least) <= (value := duration(text)) <= duration(most):
            raise ArgumentTypeError(f"must be {least} to {most}")
        return value

    return bounded


def moment(text: str) -> datetime:
    """Parse an ISO date or time, UTC unless it names a zone, or a duration before now."""
    if DURATION.fullmatch(text):
        try:
            return datetime.now(UTC) - duration(text)
        except OverflowError:
            raise ArgumentTypeError(f"{text!r} is too long ago") from None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is neither an ISO date or time nor a duration like 2h") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def whole_number(text: str) -> int:
    """Parse a number of items, 1 or more."""
    if not text.isdecimal() or not 0 < int(text) <= BIGINT_MAX:
        raise ArgumentTypeError(f"must be a whole number above 0, {BIGINT_MAX} at most")
    return int(text)


def integer(text: str) -> int:
    """Parse an offset, a partition or an id that PostgreSQL and Kafka could hold, whether or not it exists."""
    if abs(value := int(text)) > BIGINT_MAX:
        raise ArgumentTypeError(f"must be {BIGINT_MAX} at most")
    return value


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise ArgumentTypeError("must be a number above 0")
    return value
