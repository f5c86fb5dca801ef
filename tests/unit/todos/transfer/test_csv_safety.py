"""No cell of an export is a formula, and every cell can be had back."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from todos.transfer.csv_safety import escape_formulas, unescape_formulas

FORMULA_STARTS = "=+-@\uff1d\uff0b\uff0d\uff20"
TRIMMED = "\t\r\n \u00a0\x01\ufeff"
HOSTILE = st.text(alphabet=st.sampled_from(f"{FORMULA_STARTS}{TRIMMED}';,\"a") | st.characters(codec="utf-8"))


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t1", "\r", "\n", "  =1", "\uff1d1", "\uff20", "'=1", "''-", "\u00a0+1", '"=1'],
)
def test_what_a_spreadsheet_would_run_begins_with_one_apostrophe_more(cell: str) -> None:
    assert f"'{cell}" == escape_formulas(cell)
    assert cell == unescape_formulas(escape_formulas(cell))


@pytest.mark.parametrize(
    ("cell", "escaped"),
    [
        ("a;=1", "a;'=1"), ("a\t@x", "a\t'@x"), ("a\n=1", "a\n'=1"), ("a\r\n +1", "a\r\n' +1"),
        ("a;\uff1d1", "a;'\uff1d1"), ("=1;=2", "'=1;'=2"),
        ("a;'=1", "a;''=1"), ('a;"=1', "a;'\"=1"), ("\n\t=1", "'\n\t'=1"), (";;-", ";;'-"),
    ],
)  # fmt: skip
def test_so_does_what_a_spreadsheet_with_another_separator_takes_for_a_cell(cell: str, escaped: str) -> None:
    assert escaped == escape_formulas(cell)
    assert cell == unescape_formulas(escaped)


@pytest.mark.parametrize(
    "cell", ["", "Do homework", "1+1", "'twas", "a=b", " a", "e-mail", "''", "a; b = c", "a, -b", "x\ny\n"]
)
def test_everything_else_stays_as_it_is(cell: str) -> None:
    assert cell == escape_formulas(cell) == unescape_formulas(cell)


@given(HOSTILE)
@example("'\n'=")
@example("\n=")
def test_whatever_it_is_it_comes_back(cell: str) -> None:
    assert cell == unescape_formulas(escape_formulas(cell))


@given(st.lists(HOSTILE, min_size=1, max_size=3), st.sampled_from(";\t"))
def test_no_part_of_a_row_begins_with_a_formula_whatever_the_separator(cells: list[str], separator: str) -> None:
    """Read with another separator than it was written with, and without regard to quotes."""
    file = io.StringIO(newline="")
    csv.writer(file).writerow(["id", *map(escape_formulas, cells)])
    parts = [part for line in file.getvalue().replace("\r", "\n").split("\n") for part in line.split(separator)]
    assert [] == [part for part in parts if part.strip(f'{TRIMMED}"')[:1] in set(FORMULA_STARTS)]


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=2))
def test_the_csv_module_itself_gives_back_what_it_was_given(cells: list[str]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerow(cells)
    assert [cells] == list(csv.reader(io.StringIO(file.getvalue(), newline=""), strict=True))
