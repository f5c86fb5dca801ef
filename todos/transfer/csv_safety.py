"""Cells of a CSV file that a spreadsheet would run as a formula, made harmless in a way that can be taken back.

An apostrophe in front makes a text of the cell. It also goes in front of a cell that begins with apostrophes and a
formula, so that `restored` gives back exactly what `harmless` was given, whatever that was.
"""

import re

# Also wide characters, which some spreadsheets take for the narrow ones, and white space, which they trim.
_FORMULA = r"(?:\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])"
_TO_ESCAPE = re.compile(rf"'*{_FORMULA}")
_ESCAPED = re.compile(rf"'+{_FORMULA}")


def harmless(cell: str) -> str:
    return f"'{cell}" if _TO_ESCAPE.match(cell) else cell


def restored(cell: str) -> str:
    return cell[1:] if _ESCAPED.match(cell) else cell
