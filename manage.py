#!/usr/bin/env python
"""Django's entry point."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

WRONG_USAGE = 2


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "todoproject.settings")
    if not all(map(_is_text, sys.argv)):
        print("manage.py: an argument is not UTF-8", file=sys.stderr)
        sys.exit(WRONG_USAGE)
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as exc:
        sys.exit(f"manage.py: {exc}")


def _is_text(argument: str) -> bool:
    """Python lets other bytes in as halves of characters, which neither PostgreSQL nor Kafka takes."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


if __name__ == "__main__":
    main()
