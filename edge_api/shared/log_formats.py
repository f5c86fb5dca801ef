"""How both services write a log record: as a line for people, or as JSON for machines."""

import logging
from typing import Any


class LineFormatter(logging.Formatter):
    """Writes one line for each record, with its `request_id` if it has one, and the lines of a traceback indented.

    Clients choose paths, headers and names that are logged. Their control characters are escaped, so that they can
    neither begin a line that looks like another record nor send commands to a terminal.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line = super().formatMessage(record)
        return escape(f"{line} [{record.request_id}]" if hasattr(record, "request_id") else line)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return _indent(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return _indent(stack_info)


def escape(text: str) -> str:
    """Return the text with an escape for each character that Unicode does not count as printable, as in `\\n`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _indent(lines: str) -> str:
    return "\n".join(f"    {escape(line)}" for line in lines.split("\n"))


# For logging.config.dictConfig.
FORMATTERS: dict[str, Any] = {
    "line": {"()": LineFormatter},
    "json": {
        "()": "pythonjsonlogger.json.JsonFormatter",
        "fmt": "%(levelname)s %(name)s %(message)s",
        "rename_fields": {"levelname": "level", "name": "logger"},
        "timestamp": "time",
    },
}
FORMATS = tuple(FORMATTERS)
