"""Processes that find other names inside kafka-python or aiokafka than the product expects."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "renamed_names"


def renamed(package: str, *names: str) -> dict[str, str]:
    """The environment of such a process."""
    return {"PYTHONPATH": str(FOLDER), "RENAMED": f"{package}:{','.join(names)}"}


def run_renamed(code: str, package: str, *names: str) -> str:
    """Run Python code in such a process, and return what it prints."""
    env = os.environ | renamed(package, *names)
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True, timeout=120).stdout
