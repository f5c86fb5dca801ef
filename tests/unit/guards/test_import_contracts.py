"""The forbidden arrows of the design: kept by the tree, and each one noticed when it is drawn."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = ("edge_api", "todos", "todoproject")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for package in (*PRODUCT, "benchmarks"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken_contracts(tree: Path) -> set[str]:
    """The names of the contracts that lint-imports reports as broken."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    broken = set(re.findall(r"^(.+) BROKEN\b", done.stdout, re.MULTILINE))
    assert done.returncode == bool(broken), done.stdout + done.stderr
    return broken


def draw(tree: Path, module: str, statement: str) -> None:
    path = tree / f"{module.replace('.', '/')}.py"
    text = path.read_text() if path.exists() else ""
    path.write_text(f"{text}\n{statement}\n")


EDGE = "The edge knows nothing of Django, Celery, the database or the consumer"
CONSUMER = "The Django side knows nothing of FastAPI, and of the edge only its contract"
CONTRACT = "The contract imports neither the edge nor a framework nor Kafka"
EMPTY = "Importing edge_api.contract runs none of the edge"
INGEST = "The ingest and the models know neither Kafka nor Celery"
IMPORTS = "Imports of files reach the database through Kafka only"
DOOR = "Only todos.kafka, its readers, edge_api.producer, baselines import kafka"
TRACES = "Only edge_api.tracing and todos.spans import opentelemetry"
TOOLS = "Product code never imports tests, benchmarks or devstack"
BASELINES = "The benchmarks' baselines use nothing of what they are compared with"
CLIENT = "The load client knows nothing of what it measures"


def test_the_tree_keeps_every_contract(tree: Path) -> None:
    assert set() == broken_contracts(tree)


@pytest.mark.parametrize(
    ("module", "statement", "broken"),
    [
        *(
            ("edge_api.injected", f"import {name}", {EDGE})
            for name in ("django.db", "rest_framework", "celery", "django_celery_beat", "psycopg2")
        ),
        ("edge_api.injected", "from todos import models", {EDGE}),
        ("edge_api.injected", "import todoproject.settings", {EDGE}),
        *(
            (f"{package}.injected", f"import {name}", {CONSUMER})
            for package in ("todos", "todoproject")
            for name in ("fastapi", "starlette", "uvicorn", "edge_api", "edge_api.injected_target")
        ),
        ("edge_api.contract.injected", "import fastapi", {CONTRACT}),
        ("edge_api.contract.injected", "import kafka", {CONTRACT, DOOR}),
        ("edge_api.contract.injected", "from edge_api import injected_target", {CONTRACT}),
        ("edge_api.__init__", "import uvicorn", {EMPTY}),
        ("edge_api.__init__", "from edge_api import injected_target", {EMPTY}),
        ("todos.ingest", "import kafka", {INGEST, DOOR}),
        ("todos.ingest", "from todos import injected_detour", {INGEST}),
        ("todos.ingest", "from celery import shared_task", {INGEST}),
        ("todos.ingest", "import todoproject", {INGEST}),
        ("todos.models", "from todos.kafka import KafkaLog", {INGEST, BASELINES}),  # a baseline uses the models
        ("todos.imports.injected", "from todos.models import Todo", {IMPORTS}),
        ("todos.imports.injected", "from django.db import connection", {IMPORTS}),
        ("todos.imports.injected", "from todos import injected_detour", {IMPORTS}),
        ("todos.injected", "from kafka import KafkaConsumer", {DOOR}),
        ("edge_api.injected", "from kafka import KafkaProducer", {DOOR}),
        *(
            (f"{package}.injected", "from opentelemetry import trace", {TRACES})
            for package in (*PRODUCT, "edge_api.contract")
        ),
        *(
            (f"{package}.injected", f"import {name}", {TOOLS})
            for package in PRODUCT
            for name in ("tests", "benchmarks", "devstack")
        ),
        ("benchmarks.injected", "import kafka", {DOOR}),
        *(
            ("benchmarks.baselines.injected", f"import {name}", {BASELINES})
            for name in ("edge_api.injected_target", "todos.ingest", "todos.injected_detour")
        ),
        *(("benchmarks.client", f"import {name}", {CLIENT}) for name in ("pydantic", "devstack", "benchmarks.world")),
    ],
)
def test_a_forbidden_arrow_breaks_its_contract(tree: Path, module: str, statement: str, broken: set[str]) -> None:
    draw(tree, "edge_api.injected_target", "")
    draw(tree, "todos.injected_detour", "import todos.kafka")
    draw(tree, module, statement)
    assert broken == broken_contracts(tree)


FOREIGN_IMPORTS = """
import sys, grimp
graph = grimp.build_graph("edge_api", include_external_packages=True, cache_dir=None)
modules = {"edge_api.contract", *graph.find_descendants("edge_api.contract")}
imported = set().union(*map(graph.find_modules_directly_imported_by, modules))
print(*(imported - modules - sys.stdlib_module_names))
"""


def foreign_imports(tree: Path) -> set[str]:
    """What edge_api.contract imports from outside itself and the standard library."""
    # A process of its own: this one may hold the real edge_api already.
    done = subprocess.run([sys.executable, "-c", FOREIGN_IMPORTS], cwd=tree, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_contract_needs_pydantic_only_and_pyjwt_for_tokens(tree: Path) -> None:
    assert foreign_imports(tree) <= {"pydantic", "pydantic_core", "jwt", "cryptography"}


def test_any_other_import_of_the_contract_is_noticed(tree: Path) -> None:
    draw(tree, "edge_api.contract.injected", "import uuid_utils")
    assert "uuid_utils" in foreign_imports(tree)
