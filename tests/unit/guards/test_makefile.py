"""`make` installs what a target needs, and nothing when that is installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone"
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    shutil.copy(ROOT / "Makefile", folder)
    (folder / ".venv").mkdir()
    return folder


def installed_by(folder: Path, target: str) -> set[str]:
    """The files of requirements that `make` would install."""
    command = ["make", "--dry-run", target, "VENV=.venv"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return set(re.findall(r"uv pip install .* requirements/(\w+)\.txt", done.stdout))


@pytest.mark.parametrize("target", ["run", "manage", "kafka", "postgres"])
def test_what_runs_the_stack_installs_no_tools(folder: Path, target: str) -> None:
    assert {"run"} == installed_by(folder, target)


@pytest.mark.parametrize("target", ["install", "test", "test-fast", "lint"])
def test_the_other_targets_install_everything(folder: Path, target: str) -> None:
    assert {"dev"} == installed_by(folder, target)


@pytest.mark.parametrize(("stamp", "target"), [("run", "run"), ("dev", "run"), ("dev", "test")])
def test_nothing_is_installed_twice(folder: Path, stamp: str, target: str) -> None:
    for name in ("uv", stamp):
        (folder / ".venv" / f"{name}.installed").touch()
    assert set() == installed_by(folder, target)


def test_changed_requirements_are_installed(folder: Path) -> None:
    for name in ("uv", "dev"):
        (folder / ".venv" / f"{name}.installed").touch()
    later = (folder / ".venv" / "dev.installed").stat().st_mtime + 10
    os.utime(folder / "requirements" / "dev.txt", (later, later))
    assert {"dev"} == installed_by(folder, "run")
