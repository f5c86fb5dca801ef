"""CSV cells that a spreadsheet would run as a formula, escaped in a way that can be undone.

A spreadsheet whose separator is a semicolon or a tab ignores quotes in the middle of what it takes for a cell. For
it, a cell also begins after each of these characters, and after each line end. An apostrophe in front of a formula
turns it into text. Where apostrophes and a formula follow, one more is added, so that
`unescape_formulas(escape_formulas(cell)) == cell` for every cell.
"""

import re

# White space, control characters and quotes, which spreadsheets trim or leave out; those that end a cell are not in it.
_BLANK = r'[^\S\t\r\n]|[\x00-\x08\x0b\x0c\x0e-\x1f"\ufeff]'
# Fullwidth characters too, which some spreadsheets read as the ASCII ones.
_FORMULA = rf"(?:{_BLANK})*[=+\-@\uff1d\uff0b\uff0d\uff20]"
_START = r"(?:^|(?<=[;\t\r\n]))"
# A cell that begins with a separator or a line end is escaped too.
_TO_ESCAPE = re.compile(rf"{_START}(?='*{_FORMULA})|^(?='*[\t\r\n])")
_ESCAPED = re.compile(rf"{_START}'(?='*{_FORMULA})|^'(?='*[\t\r\n])")


def escape_formulas(cell: str) -> str:
    """Return the cell with an apostrophe before each text that a spreadsheet could read as a formula."""
    return _TO_ESCAPE.sub("'", cell)


def unescape_formulas(cell: str) -> str:
    """Return the cell without the apostrophes that escape_formulas added."""
    return _ESCAPED.sub("", cell)
