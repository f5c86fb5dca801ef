"""No test imports another test: what tests share stands in tests/support, or beside them in their own folder."""

import ast
from pathlib import Path

import pytest

from devstack.environment import ROOT

# Packages of their own, no collections of tests.
PROGRAMS = ("tests.abuse", "tests.chaos", "tests.containers", "tests.support")


def imports_of(source: str) -> set[str]:
    """The modules that are imported anywhere in the source, each name of `from x import y` as `x.y` too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    return found


def foreign_imports(path: Path, source: str) -> list[str]:
    """What the test at `path` (relative to the project) must not import."""
    folder = ".".join(path.parent.parts)
    return sorted(
        module
        for module in imports_of(source)
        if module.startswith("tests.")
        and (
            any(part == "conftest" or part.startswith("test_") for part in module.split("."))
            or not module.startswith((*PROGRAMS, f"{folder}."))
        )
    )


def test_no_test_imports_another_test() -> None:
    paths = (path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))
    assert {} == {str(path): found for path in paths if (found := foreign_imports(path, (ROOT / path).read_text()))}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from tests.unit.api.test_list import page", ["tests.unit.api.test_list", "tests.unit.api.test_list.page"]),
        ("from tests.conftest import running", ["tests.conftest", "tests.conftest.running"]),
        ("import tests.e2e.traffic", ["tests.e2e.traffic"]),
        ("def f():\n    from tests.e2e import traffic", ["tests.e2e", "tests.e2e.traffic"]),
        ("from tests.unit.api.helpers import make", []),
        ("from tests.support import topic\nfrom tests.chaos.oracle import CHECKS\nimport testscenarios", []),
    ],
)
def test_a_foreign_import_is_noticed(source: str, found: list[str]) -> None:
    assert found == foreign_imports(Path("tests/unit/api/test_page.py"), source)
