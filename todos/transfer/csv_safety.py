"""CSV cells that a spreadsheet would run as a formula, escaped in a way that can be undone.

An apostrophe in front turns the cell into text. Cells that begin with apostrophes and a formula get one too, so that
`unescape_formula(escape_formula(cell)) == cell` for every cell.
"""

import re

# Also fullwidth characters, which some spreadsheets read as the ASCII ones, and white space, which they trim.
_FORMULA = r"(?:\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])"
_TO_ESCAPE = re.compile(rf"'*{_FORMULA}")
_ESCAPED = re.compile(rf"'+{_FORMULA}")


def escape_formula(cell: str) -> str:
    """Return the cell with an apostrophe in front where a spreadsheet could read it as a formula."""
    return f"'{cell}" if _TO_ESCAPE.match(cell) else cell


def unescape_formula(cell: str) -> str:
    """Return the cell without the apostrophe that escape_formula added."""
    return cell[1:] if _ESCAPED.match(cell) else cell
