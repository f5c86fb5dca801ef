"""Every command explains itself: examples that its own parser takes, and what its exit codes mean."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from django.core.management import CommandError
from django.core.management.base import CommandParser

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


def test_all_of_it_fits_into_a_line() -> None:
    epilogs = {name: parser_of(name).epilog or "" for name in NAMES}
    assert {} == {name: line for name, text in epilogs.items() for line in text.splitlines() if len(line) > 120}
