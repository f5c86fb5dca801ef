"""What Django's side logs: lines for people, JSON for machines, and the id of the request in each."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from logging.handlers import BufferingHandler

import pytest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client, RequestFactory, override_settings
from django.utils.log import log_response

from devstack.environment import ROOT
from todoproject.logs import RequestFilter, request_id
from todoproject.middleware import RequestLog

SCRIPT = """
import logging
from logging.config import dictConfig
from todoproject.logs import logging_config, request_id
dictConfig(logging_config("INFO", "{format_name}"))
request_id.set("r-1")
log = logging.getLogger("some.module")
log.info("stored %d", 3, extra={{"stored": 3}})
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
log.debug("not shown")
"""


def logged(format_name: str) -> list[str]:
    command = [sys.executable, "-c", SCRIPT.format(format_name=format_name)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr.splitlines()


def test_json_is_one_object_a_line_with_every_field() -> None:
    first, second = map(json.loads, logged("json"))

    assert {"time", "level", "logger", "message", "stored", "request_id"} == first.keys()
    assert ("INFO", "some.module", "stored 3", 3, "r-1") == tuple(
        first[name] for name in ("level", "logger", "message", "stored", "request_id")
    )
    assert "ZeroDivisionError" in second["exc_info"]


def test_lines_are_for_people() -> None:
    first, second, *trace = logged("line")

    assert first.endswith("INFO    some.module: stored 3 [r-1]")
    assert second.endswith("ERROR   some.module: failed [r-1]")
    assert trace[-1].startswith("    ZeroDivisionError")


@pytest.mark.parametrize("sent", ["client-7", ""])
def test_an_answer_carries_the_id_that_was_logged(sent: str, caplog: pytest.LogCaptureFixture) -> None:
    seen = []

    def answer(_request: HttpRequest) -> HttpResponse:
        seen.append(request_id.get())
        return HttpResponse()

    headers = {"X-Request-ID": sent} if sent else {}
    with caplog.at_level("INFO", "todoproject.middleware"):
        response = RequestLog(answer)(RequestFactory().get("/x?a=b", headers=headers))

    assert [response["X-Request-ID"]] == seen
    assert seen[0] == sent or (not sent and len(seen[0]) == 36)
    assert caplog.messages[0].startswith("GET /x 200 in ")
    assert "" == request_id.get()


@pytest.mark.parametrize("sent", ["a b", "x" * 129, "a\tb", "é"])
def test_a_senseless_id_is_replaced(sent: str) -> None:
    response = RequestLog(lambda _request: HttpResponse())(RequestFactory().get("/", HTTP_X_REQUEST_ID=sent))

    assert sent != response["X-Request-ID"]
    assert 36 == len(response["X-Request-ID"])


@pytest.mark.parametrize("host", ["evil.example", "a\x1b[2J", "a\nb", ""])
@pytest.mark.parametrize("path", ["/api/todos/", "/healthz"])
def test_a_wrong_host_is_one_line_without_a_traceback(host: str, path: str) -> None:
    handler = BufferingHandler(capacity=10)
    logging.getLogger().addHandler(handler)
    try:
        with override_settings(ALLOWED_HOSTS=["todo.example"]):
            assert 400 == Client(headers={"Host": host}).get(path).status_code
    finally:
        logging.getLogger().removeHandler(handler)
    (record,) = handler.buffer
    assert "Invalid HTTP_HOST header" in record.getMessage()
    assert record.exc_info is None


def test_what_a_client_did_wrong_has_no_traceback() -> None:
    error = (ValueError, ValueError(), None)
    records = [logging.makeLogRecord({"exc_info": error, "status_code": status}) for status in (400, 500)]
    assert all(RequestFilter().filter(record) for record in records)
    assert [False, True] == [bool(record.exc_info) for record in records]


# --- What is worth a line


@pytest.fixture
def answers() -> list[HttpResponse]:
    """What the next requests get, in this order."""
    return []


@pytest.fixture
def log_of(answers: list[HttpResponse], caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """Make a request for each of the answers, and return the lines of INFO and above."""
    log = RequestLog(lambda _request: answers.pop(0))

    def request(path: str) -> list[str]:
        caplog.clear()
        with caplog.at_level("INFO", "todoproject.middleware"):
            while answers:
                log(RequestFactory().get(path))
        return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]

    return request


def probe(status: int, *codes: str, text: str = "") -> HttpResponse:
    return JsonResponse({"problems": [{"code": code, "text": text} for code in codes]}, status=status)


def test_a_probe_is_a_line_when_it_changes_what_it_says(
    answers: list[HttpResponse], log_of: Callable[[str], list[str]]
) -> None:
    path = "/readyz/pipeline"
    answers += [probe(200), probe(200)]
    assert [] == log_of(path)
    answers += [probe(503, "row-held", text="for 1 s"), probe(503, "row-held", text="for 2 s")]
    (line,) = log_of(path)
    assert line.startswith(f"WARNING {path} answers 503")
    assert "for 1 s" in line
    answers += [probe(503, "redis-unavailable"), probe(200), probe(200)]
    worse, again = log_of(path)
    assert worse.startswith("WARNING")
    assert again.startswith(f"INFO {path} answers 200")


def test_static_files_are_no_news(answers: list[HttpResponse], log_of: Callable[[str], list[str]]) -> None:
    answers.append(HttpResponse())
    assert [] == log_of("/static/admin/css/base.css")
    answers.append(HttpResponse())
    assert 1 == len(log_of("/admin/"))


@pytest.mark.parametrize(("path", "lines"), [("/readyz", 0), ("/api/todos/", 1)])
def test_django_logs_no_line_for_each_failure_of_a_probe(path: str, lines: int) -> None:
    handler = BufferingHandler(capacity=10)
    logger = logging.getLogger("django.request")
    logger.addHandler(handler)
    try:
        log_response("%s", path, response=HttpResponse(status=503), request=RequestFactory().get(path))
    finally:
        logger.removeHandler(handler)
    assert lines == len(handler.buffer)
