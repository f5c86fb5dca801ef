"""The programs' environment: .env, then that of the running stack, then the real environment, which wins."""

import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from honcho.environ import parse

from devstack import lock
from devstack.process import ServiceError

ROOT = Path(__file__).parent.parent
STATE = ROOT / ".devstack"
DOTENV = ROOT / ".env"
RUN_LOCK = STATE / "run.lock"
PUBLISHED = STATE / "env"
ADDRESS_NAMES = ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS")
PROGRAMS_PREFIXES = ("DJANGO_", "EDGE_", "KAFKA_", "OTEL_")


def create_dotenv() -> None:
    """Copy .env.example to .env once; its blank variables are secrets, and get random values."""
    if DOTENV.exists():
        return
    lines = (ROOT / ".env.example").read_text().splitlines()
    filled = [line + secrets.token_urlsafe(48 if "KEY" in line else 15) if _is_blank(line) else line for line in lines]
    _write_private(DOTENV, filled)


def load() -> dict[str, str]:
    """Return the environment. Blank variables count as not set; the folder of this Python comes first in PATH."""
    return _merge({})


def load_running() -> dict[str, str]:
    """Return `load()` with the running stack's environment. Raises ServiceError if neither has the addresses."""
    merged = _merge(_read_published())
    if missing := [name for name in ADDRESS_NAMES if name not in merged]:
        raise ServiceError(f"{missing[0]} is not set and nothing runs here: start `make run` first")
    return merged


def publish(env: Mapping[str, str]) -> None:
    """Write the variables that matter to the programs, for `load_running`."""
    told = {name: env[name] for name in env if name in ADDRESS_NAMES or name.startswith(PROGRAMS_PREFIXES)}
    _write_private(PUBLISHED, [json.dumps(told)])  # .env's format cannot carry every value


def unpublish() -> None:
    PUBLISHED.unlink(missing_ok=True)


def _merge(published: dict[str, str]) -> dict[str, str]:
    merged = {name: value for name, value in (_read_dotenv() | published | os.environ).items() if value}
    merged["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), merged.get("PATH", os.defpath)])
    return merged


def _is_blank(line: str) -> bool:
    return line.endswith("=") and not line.startswith("#")


def _read_dotenv() -> dict[str, str]:
    return dict(parse(DOTENV.read_text())) if DOTENV.is_file() else {}


def _read_published() -> dict[str, str]:
    """Return the published variables; none if a killed run left the file."""
    return dict(json.loads(PUBLISHED.read_text())) if PUBLISHED.is_file() and lock.is_held(RUN_LOCK) else {}


def _write_private(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{line}\n" for line in lines)
