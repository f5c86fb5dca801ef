"""Tracing is off unless it is asked for: nothing of OpenTelemetry is imported, and nothing of it needs to be there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EDGE = "import sys, edge_api.main; edge_api.main.create_app()"
DJANGO = "import sys, django; django.setup(); import todos.tasks"
# redis-py imports the SDK's metrics where they are installed, and FastAPI the API; none of them what makes spans.
LOADED = "; print('opentelemetry.sdk.trace' in sys.modules)"
WITHOUT = "import sys; sys.modules['{}'] = None; "


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("code", [EDGE, DJANGO])
def test_off_by_default_it_is_not_even_imported(code: str) -> None:
    assert "False\n" == run(code + LOADED).stdout


def test_the_edge_imports_it_when_it_is_on() -> None:
    assert "True\n" == run(EDGE + LOADED, EDGE_TRACING="true").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "missing", "name"),
    [
        (EDGE, "opentelemetry.sdk", "EDGE_TRACING"),
        (DJANGO, "opentelemetry.sdk", "DJANGO_TRACING"),
        (DJANGO, "opentelemetry", "DJANGO_TRACING"),
    ],
)
def test_without_the_packages_it_can_be_off_and_not_on(code: str, missing: str, name: str) -> None:
    code = WITHOUT.format(missing) + code
    assert 0 == run(code).returncode

    done = run(code, **{name: "true"})

    assert 0 != done.returncode
    assert f"{name}: " in done.stderr.splitlines()[-1]
    assert "install requirements/tracing.txt" in done.stderr.splitlines()[-1]
