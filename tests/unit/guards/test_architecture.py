"""docs/architecture.md is true: its walk leads through what exists, and its layers are those that lint checks."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
STEPS = re.findall(r"^\d+\. `([\w/]+\.py)` · ((?:`\w+`(?:, )?)+):", PAGE, re.MULTILINE)
MAX_FILES = 18


def test_one_todo_is_followed_in_few_files() -> None:
    assert 0 < len({path for path, _ in STEPS}) <= MAX_FILES


@pytest.mark.parametrize(("path", "names"), STEPS)
def test_each_step_names_what_its_file_defines(path: str, names: str) -> None:
    body = ast.parse((ROOT / path).read_text()).body
    defined = {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)}

    assert {*re.findall(r"\w+", names)} <= defined


@pytest.mark.parametrize(
    ("contract", "package", "column"), [("layers-of-django", "todos.", 0), ("layers-of-the-edge", "edge_api.", 1)]
)
def test_the_layers_are_those_of_the_contract(contract: str, package: str, column: int) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [each["layers"] for each in contracts if each["id"] == contract]
    (table,) = re.findall(r"```text\nDjango side +Edge\n\n(.*?)```", PAGE, re.DOTALL)
    rows = [re.split(r" {3,}", line) for line in table.splitlines()]

    assert [layer.replace(package, "") for layer in layers] == [row[column] for row in rows if len(row) > column]
