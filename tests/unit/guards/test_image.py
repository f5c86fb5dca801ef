"""Django's image holds all files that its commands need."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "docker" / "django.Dockerfile").read_text()
ALLOWED = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)


def copy_to(image: Path) -> None:
    """What the last stage copies, of what .dockerignore lets pass."""
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.rpartition("FROM ")[2], re.MULTILINE):
        *sources, target = line.split()
        for source in map(Path, sources):
            for file in (ROOT / source).rglob("*") if (ROOT / source).is_dir() else [ROOT / source]:
                name = file.relative_to(ROOT)
                if file.is_file() and any(
                    name.match(allowed) or allowed in map(str, name.parents) for allowed in ALLOWED
                ):
                    is_folder = target.endswith("/") or target == "./"
                    place = image / target / (name.name if is_folder else name.relative_to(source))
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file, place)


@pytest.mark.slow
def test_capacity_finds_its_costs_there(tmp_path: Path) -> None:
    copy_to(tmp_path)
    command = [sys.executable, "manage.py", "capacity", "--todos-per-second", "5000"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "5,000 todos a second" in done.stdout
