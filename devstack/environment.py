"""What the programs are told: .env, then the addresses of the running stack, then the real environment, which wins."""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from honcho.environ import parse

from devstack.process import ServiceError

ROOT = Path(__file__).parent.parent
STATE = ROOT / ".devstack"
DOTENV = ROOT / ".env"
ADDRESSES = STATE / "env"
ADDRESS_NAMES = ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS")


def create_dotenv() -> None:
    """Copy .env.example to .env once; whatever it leaves blank is a secret, and gets a random value."""
    if DOTENV.exists():
        return
    lines = (ROOT / ".env.example").read_text().splitlines()
    filled = [line + secrets.token_urlsafe(48 if "KEY" in line else 15) if _is_blank(line) else line for line in lines]
    _write_private(DOTENV, filled)


def load() -> dict[str, str]:
    """Blank variables count as not set. The folder of this Python comes first in PATH."""
    merged = {name: value for name, value in (_read(DOTENV) | os.environ).items() if value}
    merged["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), merged.get("PATH", os.defpath)])
    return merged


def load_running() -> dict[str, str]:
    """As `load`, with the addresses of the stack that `run` started. Raises ServiceError where there is none."""
    merged = _read(ADDRESSES) | load()
    if missing := [name for name in ADDRESS_NAMES if name not in merged]:
        raise ServiceError(f"{missing[0]} is not set and nothing runs here: start `make run` first")
    return merged


def publish(addresses: Mapping[str, str]) -> None:
    _write_private(ADDRESSES, [f"{name}={address}" for name, address in addresses.items()])


def _is_blank(line: str) -> bool:
    return line.endswith("=") and not line.startswith("#")


def _read(path: Path) -> dict[str, str]:
    return dict(parse(path.read_text())) if path.is_file() else {}


def _write_private(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{line}\n" for line in lines)
