"""No cell of an export is a formula, and every cell can be had back."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from todos.transfer.csv_safety import escape_formula, unescape_formula


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t1", "\r", "\n", "  =1", "\uff1d1", "\uff20", "'=1", "''-", "\u00a0+1"],
)
def test_what_a_spreadsheet_would_run_begins_with_one_apostrophe_more(cell: str) -> None:
    assert f"'{cell}" == escape_formula(cell)
    assert cell == unescape_formula(escape_formula(cell))


@pytest.mark.parametrize("cell", ["", "Do homework", "1+1", "'twas", "a=b", " a", "e-mail", "''"])
def test_everything_else_stays_as_it_is(cell: str) -> None:
    assert cell == escape_formula(cell) == unescape_formula(cell)


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r\n \uff1da") | st.characters(codec="utf-8")))
@example("'\n'=")
def test_whatever_it_is_it_comes_back(cell: str) -> None:
    assert cell == unescape_formula(escape_formula(cell))


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=2))
def test_the_csv_module_itself_gives_back_what_it_was_given(cells: list[str]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerow(cells)
    assert [cells] == list(csv.reader(io.StringIO(file.getvalue(), newline=""), strict=True))
