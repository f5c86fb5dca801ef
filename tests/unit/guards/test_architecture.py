"""The walk of docs/architecture.md leads through files and functions that exist, and stays short."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
STEPS = re.findall(
    r"^\d+\. `([\w/]+\.py)` · ((?:`\w+`(?:, )?)+):", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE
)
MAX_FILES = 18


def test_one_todo_is_followed_in_few_files() -> None:
    assert 0 < len({path for path, _ in STEPS}) <= MAX_FILES


@pytest.mark.parametrize(("path", "names"), STEPS)
def test_each_step_names_what_its_file_defines(path: str, names: str) -> None:
    body = ast.parse((ROOT / path).read_text()).body
    defined = {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)}

    assert {*re.findall(r"\w+", names)} <= defined
