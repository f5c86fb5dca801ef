"""What several commands ask for on their command lines, and how they explain themselves."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.core.management.base import CommandError, DjangoHelpFormatter

BIGINT_MAX = 2**63 - 1
FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class _Formatter(DjangoHelpFormatter):
    """Wraps the description, and leaves the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


def add_examples(parser: ArgumentParser, text: str) -> None:
    """`text` begins with a line "examples:"."""
    parser.formatter_class = _Formatter
    parser.epilog = text.strip()


def add_format(parser: ArgumentParser, default: str) -> None:
    parser.add_argument("--format", choices=sorted(set(FORMATS.values())), help=f"default: {default}")


def format_of(path: Path, named: str | None) -> str:
    if found := named or FORMATS.get(path.suffix):
        return found
    raise CommandError(f"--format: csv or jsonl? The name {path} does not say", returncode=2)


DURATION, UNITS = re.compile(r"(\d{1,6})([smhd])"), {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    if match := DURATION.fullmatch(text):
        return timedelta(**{UNITS[match[2]]: int(match[1])})
    raise ArgumentTypeError(f"{text!r} is no duration like 2h")


def duration_between(least: str, most: str) -> Callable[[str], timedelta]:
    def bounded(text: str) -> timedelta:
        if not duration(least) <= (found := duration(text)) <= duration(most):
            raise ArgumentTypeError(f"must be {least} to {most}")
        return found

    return bounded


def moment(text: str) -> datetime:
    if DURATION.fullmatch(text):
        try:
            return datetime.now(UTC) - duration(text)
        except OverflowError:
            raise ArgumentTypeError(f"{text!r} is too long ago") from None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is neither an ISO date or time nor a duration like 2h") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def whole_number(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= BIGINT_MAX:
        raise ArgumentTypeError(f"must be a whole number above 0, {BIGINT_MAX} at most")
    return int(text)


def integer(text: str) -> int:
    """An offset, a partition, an id: whatever PostgreSQL and Kafka could hold, whether it is there or not."""
    if abs(found := int(text)) > BIGINT_MAX:
        raise ArgumentTypeError(f"must be {BIGINT_MAX} at most")
    return found


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise ArgumentTypeError("must be a number above 0")
    return value
