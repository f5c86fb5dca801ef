"""The runbook has a section for each alert, and the pages of docs/ quote what there is: commands, texts, headings."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands, load_command_class

from todos.monitoring.problems import ProblemCode

ROOT = Path(__file__).resolve().parents[3]
RUNBOOK, LIFECYCLE = ((ROOT / "docs" / name).read_text() for name in ("runbook.md", "lifecycle.md"))
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "docker/monitoring/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
# Where the reasons are worded.
WORDING = "".join(path.read_text() for path in (ROOT / "todos").rglob("*.py"))
COMMAND = re.compile(r"`(?:manage\.py |make manage ARGS=\")([a-z_]+[^`\"]*)\"?`")


def anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_alert_has_its_section_of_the_runbook() -> None:
    _, problems, *sections = re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)

    assert problems.startswith("Problems\n")
    assert [rule["alert"] for rule in RULES] == [section.split("\n")[0] for section in sections]
    for rule in RULES:
        assert f"docs/runbook.md#{rule['alert'].lower()}" == rule["annotations"]["runbook_url"]
    for section in sections:
        assert ["Means", "Look", "Do", "Ends"] == re.findall(r"^- \*\*(\w+):\*\*", section, re.MULTILINE), section


def test_each_problem_has_its_section_of_the_runbook_with_the_status_of_the_probe() -> None:
    told = dict(re.findall(r"^### ([\w-]+)\n\n(\d{3})\. ", RUNBOOK, re.MULTILINE))

    assert {str(code): "503" if code.needs_operator else "200" for code in ProblemCode} == told
    for code in ProblemCode:
        page, anchor = code.runbook.split("#")
        assert anchor in anchors((ROOT / page).read_text())


def test_the_reasons_that_the_runbook_quotes_are_those_of_the_admin() -> None:
    quoted = [
        text for cell in re.findall(r"^\| (`.*?`) \|", RUNBOOK, re.MULTILINE) for text in cell[1:-1].split("`, `")
    ]

    assert 8 == len(quoted)
    assert [] == [text for text in quoted if text not in WORDING]


@pytest.mark.parametrize("command", sorted({*COMMAND.findall(RUNBOOK + LIFECYCLE)}))
def test_each_command_of_manage_py_takes_its_arguments(command: str) -> None:
    name, *arguments = shlex.split(command)
    load_command_class(get_commands()[name], name).create_parser("manage.py", name).parse_args(arguments)


@pytest.mark.parametrize(
    "page", ["README.md", "docker/k8s/README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
)
def test_each_link_within_the_project_leads_somewhere(page: str) -> None:
    path = ROOT / page
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", path.read_text()):
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(there.read_text()), f"{page}: {target}#{anchor}"
