"""Durations as compose.yml writes them. Needs no settings, so that tests.containers can use it."""

import re
from datetime import timedelta


def parse_duration(text: str) -> timedelta:
    """Parse Compose's notation, 1h2m3s. Raises ValueError."""
    parts = re.fullmatch(r"(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m)?(?:(?P<seconds>\d+)s)?", text)
    if parts is None:
        raise ValueError(f"not a duration: {text}")
    return timedelta(**{unit: int(value) for unit, value in parts.groupdict(default="0").items()})
