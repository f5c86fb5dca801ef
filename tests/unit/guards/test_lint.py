"""`make lint` runs every guard, and Django's own two notice what they are there for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PRODUCTION = {
    "PATH": os.environ["PATH"],
    "DJANGO_SECRET_KEY": "only-for-lint-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDE",
    "DATABASE_URL": "postgres://lint@localhost:1/lint",
    "REDIS_URL": "redis://localhost:1/0",
}
MIGRATIONS = ("makemigrations", "--check", "--dry-run")
DEPLOY = ("check", "--deploy", "--fail-level", "WARNING")


@pytest.mark.parametrize(
    "guard",
    [
        "ruff check",
        "ruff format --check",
        "mypy",
        "lint-imports",
        f"manage.py {' '.join(MIGRATIONS)}",
        f"manage.py {' '.join(DEPLOY)}",
        "requirements/check.py",
        "docker/check_compose.py",
        "hadolint docker/*.Dockerfile",
        "docker.check_k8s",
        "shellcheck docker/*.sh tests/containers/stand_ins/*.sh .ci/run",
        "detect-secrets-hook --baseline",
        "pip-audit",
    ],
)
def test_make_lint_runs_it(recipe: list[str], guard: str) -> None:
    assert any(guard in line for line in recipe if ".venv/bin/" in line)


@pytest.fixture(scope="module")
def recipe() -> list[str]:
    command = ["make", "--dry-run", "lint", "VENV=.venv"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the two guards look at, which both pass."""
    tree = tmp_path_factory.mktemp("tree")
    for package in ("edge_api", "todos", "todoproject"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", tree)
    assert manage(tree, *MIGRATIONS).returncode == 0
    assert manage(tree, *DEPLOY).returncode == 0
    return tree


def manage(tree: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "manage.py", *arguments]
    return subprocess.run(command, cwd=tree, env=PRODUCTION | environ, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_model_without_migration_fails(tree: Path) -> None:
    models = tree / "todos" / "models" / "todo.py"
    text = models.read_text()
    models.write_text(f"{text}\n\nclass Forgotten(models.Model):\n    pass\n")
    try:
        done = manage(tree, *MIGRATIONS)
    finally:
        models.write_text(text)
    assert done.returncode == 1
    assert "Create model Forgotten" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value", "warning"),
    [
        ("DJANGO_DEBUG", "true", "security.W018"),
        ("DJANGO_SECRET_KEY", "short", "DJANGO_SECRET_KEY: must be 50 random characters"),
        ("DJANGO_SECURE_SSL_REDIRECT", "false", "security.W008"),
    ],
)
def test_settings_unfit_for_production_fail(tree: Path, variable: str, value: str, warning: str) -> None:
    done = manage(tree, *DEPLOY, **{variable: value})
    assert done.returncode != 0
    assert warning in done.stderr
