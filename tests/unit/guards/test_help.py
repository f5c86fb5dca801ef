"""Every command explains itself: examples that its own parser takes, and what its exit codes mean."""

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from django.core.management import CommandError
from django.core.management.base import CommandParser

from devstack.environment import ROOT
from todos.management import commands

NAMES = sorted(path.stem for path in Path(commands.__path__[0]).glob("[!_]*.py"))


def parser_of(name: str) -> CommandParser:
    parser: CommandParser = (
        import_module(f"todos.management.commands.{name}").Command().create_parser("manage.py", name)
    )
    return parser


def examples_of(name: str) -> list[list[str]]:
    """Their arguments, without what the shell does with the command."""
    lines = re.findall(rf"^  manage\.py {name}\b(.*)$", parser_of(name).format_help(), re.MULTILINE)
    return [shlex.split(re.split(r" (?:\||>+|&&|;) ", f"{line} ")[0]) for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_help_has_examples_that_work_and_says_what_the_exit_codes_mean(name: str) -> None:
    assert re.search(r"^exit code: 0 ", parser_of(name).format_help(), re.MULTILINE)
    assert [] != examples_of(name)
    for arguments in examples_of(name):
        parser_of(name).parse_args(arguments)


def test_an_example_that_does_not_work_is_noticed() -> None:
    with pytest.raises(CommandError):
        parser_of("rewind").parse_args(shlex.split("--partition 0 --to-the-end"))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("audit", "--partition 0 --from"),
        ("rewind", "--partition 0 --offset"),
        ("dead_letters", "show"),
        ("dead_letters", "list --limit"),
    ],
)
def test_a_number_that_no_database_holds_is_wrong_usage(name: str, arguments: str) -> None:
    parser_of(name).parse_args([*arguments.split(), str(2**63 - 1)])
    with pytest.raises(CommandError, match=f"{2**63 - 1} at most"):
        parser_of(name).parse_args([*arguments.split(), str(2**63)])


def test_an_argument_that_is_no_text_is_wrong_usage() -> None:
    command = [sys.executable, "manage.py", "signing_keys", "retire", "\udcff"]  # b"\xff" to the system
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (2, "manage.py: an argument is not UTF-8\n") == (done.returncode, done.stderr)


def test_all_of_it_fits_into_a_line() -> None:
    epilogs = {name: parser_of(name).epilog or "" for name in NAMES}
    assert {} == {name: line for name, text in epilogs.items() for line in text.splitlines() if len(line) > 120}
