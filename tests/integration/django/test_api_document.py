"""The API's OpenAPI document is complete, its pages load nothing from elsewhere, and the API keeps what it says."""

import re
from typing import Any
from urllib.parse import urljoin
from uuid import UUID

import pytest
import schemathesis
from django.core.management import call_command
from django.test import Client
from hypothesis import settings
from hypothesis import strategies as st
from pytest_django.live_server_helper import LiveServer
from schemathesis import Case
from schemathesis.checks import negative_data_rejection, positive_data_acceptance

from edge_api.contract import DESCRIPTION_MAX, TITLE_MAX
from tests.support.todos import START, make_todos
from todoproject.wsgi import application
from todos.keyset import Position
from todos.models import Todo

DOCUMENT = "/api/openapi.json"
NOT_IN_SCHEMA = {412: [positive_data_acceptance], 413: [positive_data_acceptance, negative_data_rejection]}
KNOWN = 20  # todos that invented requests may name
cursors = st.builds(Position, st.just(START), st.integers(0, KNOWN).map(lambda n: UUID(int=n)), st.booleans())
schemathesis.openapi.format("cursor", cursors.map(Position.encode))
document = schemathesis.openapi.from_wsgi(DOCUMENT, application)


@document.hook
def map_path_parameters(_context: schemathesis.HookContext, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Half of the ids lead to a todo."""
    try:
        number = UUID((parameters or {})["id"]).int
    except (KeyError, ValueError, TypeError):
        return parameters
    return {"id": str(UUID(int=number % KNOWN + 1))} if number % 2 else parameters


@document.parametrize()
@settings(settings.default, max_examples=60)
@pytest.mark.django_db(transaction=True)
def test_the_api_keeps_what_its_document_says(case: Case[Any], live_server: LiveServer) -> None:
    if Todo.objects.count() < KNOWN:  # some were deleted
        Todo.objects.all().delete()
        make_todos(KNOWN)
    answer = case.call(base_url=live_server.url)
    # No schema can tell which ETags are stale, nor how many bytes a body has.
    judged = NOT_IN_SCHEMA.get(answer.status_code)
    case.validate_response(answer, excluded_checks=judged)


def test_the_document_is_valid_and_nothing_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")
    assert "openapi: 3.1.0" in capsys.readouterr().out


def test_limits_and_errors_are_in_the_document(client: Client) -> None:
    openapi = client.get(DOCUMENT).json()
    todo = openapi["components"]["schemas"]["TodoRequest"]["properties"]
    assert (TITLE_MAX, DESCRIPTION_MAX) == (todo["title"]["maxLength"], todo["description"]["maxLength"])
    operations = [one for path in openapi["paths"].values() for name, one in path.items()]
    assert 6 == len(operations)
    for operation in operations:
        assert {"406", "500", "503"} <= set(operation["responses"])
        for status, response in operation["responses"].items():
            assert ["application/problem+json"] == list(response["content"]) if int(status) >= 400 else True
    assert 1000 == openapi["components"]["schemas"]["BulkRequest"]["properties"]["ids"]["maxItems"]


def test_its_pages_load_only_from_here(client: Client) -> None:
    page = client.get("/api/docs/").content.decode()
    loaded = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", page)
    assert len(loaded) >= 4
    for link in loaded:
        address = urljoin("http://testserver/api/docs/", link)
        assert address.startswith("http://testserver/")
        if "/static/" not in link:
            assert 200 == client.get(address).status_code
