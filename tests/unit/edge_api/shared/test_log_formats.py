"""No text that a client chooses can look like another record, or reach a terminal as a command."""

import io
import json
import logging
from logging.config import dictConfig

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_api.shared.log_formats import FORMATS, FORMATTERS, escape

FORGED = "x\r\n2026-01-01 00:00:00,000 INFO    todo: forged\x1b[2J\x9b\u2028\u202e\ud800"


def written(format_name: str, text: str) -> str:
    """What a record is written as whose message, argument, request id and exception hold this text."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    configurator = logging.config.DictConfigurator({"version": 1})
    handler.setFormatter(configurator.configure_formatter(dict(FORMATTERS[format_name])))
    try:
        raise ValueError(text)  # noqa: TRY301
    except ValueError as exc:
        error = (ValueError, exc, exc.__traceback__)
    record = logging.LogRecord("some", logging.INFO, "", 0, "GET %s", (text,), error, sinfo=text)
    record.request_id = text
    handler.emit(record)
    return stream.getvalue()


@given(st.text())
@example(FORGED)
def test_a_line_is_one_line_and_its_traceback_is_indented(text: str) -> None:
    first, *rest = written("line", text).removesuffix("\n").split("\n")
    assert " some: GET " in first
    assert all(line.startswith("    ") for line in rest)
    assert all(line.isprintable() for line in [first, *rest])


@given(st.text())
@example(FORGED)
def test_json_is_one_line(text: str) -> None:
    line = written("json", text).removesuffix("\n")
    assert line.isprintable()
    assert f"GET {text}" == json.loads(line)["message"]


def test_escapes_are_those_of_python() -> None:
    assert r"a\r\n\x1b[2J\x9b\u2028\u202e\ud800 b" == escape("a\r\n\x1b[2J\x9b\u2028\u202e\ud800 b")
    assert "Grüße, 世界 🙂" == escape("Grüße, 世界 🙂")


@pytest.mark.parametrize("format_name", FORMATS)
def test_both_services_use_these_formats(format_name: str) -> None:
    dictConfig({"version": 1, "disable_existing_loggers": False, "formatters": FORMATTERS, "handlers": {}})
    assert "some" in written(format_name, "x")
