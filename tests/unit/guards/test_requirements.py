"""The pinned requirements match what is asked for, and each way to drift apart is noticed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).resolve().parents[3] / "requirements"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(REQUIREMENTS, tmp_path / "requirements")


def complaints(folder: Path) -> str:
    """What the check says as it fails; empty when it passes."""
    command = [sys.executable, str(folder / "check.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == bool(done.stderr), done.stderr
    return done.stderr


def substitute(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1
    path.write_text(text)


def test_requirements_pass(folder: Path) -> None:
    assert complaints(folder) == ""


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "complaint"),
    [
        ("edge.in", r"\Z", "\ntyper\n", "edge.txt: typer is missing"),
        ("django.in", r"^rich.*$", "", "django.txt: rich is left over, django.in names it no more"),
        ("django.in", r"^redis~=8\.1", "redis~=9.0", r"django.txt: redis is 8"),
        ("edge.txt", r"^uvloop==\S+", "uvloop==0.0.1", "uvloop has several versions: 0.0.1"),
        ("edge.txt", r"^uvicorn==(\S+) \\\n(    --hash.*\n)+", r"uvicorn==\1 \\\n", "edge.txt: uvicorn has no hash"),
        ("edge.txt", r"\Z", "celery==5.7.0 \\\n    --hash=sha256:00\n    # via x\n", "edge.txt: celery must stay out"),
        ("edge.txt", r"\Z", "django==5.2.0 \\\n    --hash=sha256:00\n    # via x\n", "edge.txt: django must stay out"),
        ("django.txt", r"\Z", "fastapi==0.165.0 \\\n    --hash=sha256:00\n", "django.txt: fastapi must stay out"),
        ("tracing.in", r"^opentelemetry-sdk$", "", "tracing.txt: opentelemetry-sdk is left over, tracing.in names it"),
        ("tracing.txt", r"\Z", "grpcio==1.80 \\\n    --hash=sha256:00\n", "tracing.txt: grpcio must stay out"),
        ("dev.txt", r"\Z", "psycopg==3.2 \\\n    --hash=sha256:00\n", "dev.txt: psycopg must stay out"),
    ],
)
def test_drift_is_named(folder: Path, file: str, pattern: str, replacement: str, complaint: str) -> None:
    substitute(folder / file, pattern, replacement)
    assert complaint in complaints(folder)


def test_a_file_never_compiled_is_named(folder: Path) -> None:
    (folder / "edge.txt").unlink()
    assert "edge.txt: No such file or directory; make requirements" in complaints(folder)
