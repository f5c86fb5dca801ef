"""A process imports at its start what it needs: the web process alone the pages, which pass Django's checks."""

import subprocess
import sys
from importlib import import_module

import pytest
from django.conf import settings
from django.core import checks
from django.core.management import get_commands, load_command_class

from devstack.environment import ROOT

START_WORKER = """
import sys
from celery.fixups.django import DjangoWorkerFixup
from todoproject import celery_app

DjangoWorkerFixup(celery_app).validate_models()
celery_app.loader.import_default_modules()
assert "todos.tasks" in sys.modules
print([name for name in ("todos.admin", "todos.api", "rest_framework.views", "jwt") if name in sys.modules])
"""
OURS = sorted(name for name, app in get_commands().items() if app == "todos" and name != "migrate")


def test_a_worker_imports_no_page() -> None:
    command = [sys.executable, "-c", START_WORKER]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout


@pytest.mark.parametrize("name", OURS)
def test_a_command_leaves_the_checks_to_migrate(name: str) -> None:
    assert not load_command_class("todos", name).requires_system_checks


def test_the_admin_passes_djangos_checks() -> None:
    import_module(settings.ROOT_URLCONF)
    assert [] == checks.run_checks(tags=[checks.Tags.admin])
