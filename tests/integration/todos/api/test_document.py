"""The API's OpenAPI document is complete, its pages load nothing from elsewhere, and the API behaves as it says."""

import re
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin
from uuid import UUID

import pytest
import schemathesis
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client, override_settings
from hypothesis import settings as limits
from psycopg2 import extensions
from pytest_django.live_server_helper import LiveServer
from schemathesis import Case

from edge_api.contract import DESCRIPTION_MAX, TITLE_MAX
from edge_api.contract.tokens import SCOPES
from tests.support.documents import unfit_checks
from tests.support.todos import make_todos
from tests.support.tokens import PASSWORD, bearer
from todoproject.wsgi import application
from todos.ledger.leases import ensure_ledger
from todos.models import PartitionLedger, Todo
from todos.owners import owner_of
from todos.tokens import issue, keys

extensions.set_wait_callback(None)  # the import of web's entry point limits all statements of this process to 5 s
TOPIC = settings.KAFKA.topic
DOCUMENT = "/api/openapi.json"
KNOWN = 20  # todos that invented requests may name; the offsets of half of them are decided
document = schemathesis.openapi.from_wsgi(DOCUMENT, application)


@document.hook
def map_path_parameters(_context: schemathesis.HookContext, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Half of the ids lead to a todo."""
    for name in {"id", "todo_id"} & {*(parameters := parameters or {})}:
        with suppress(ValueError, TypeError, AttributeError):
            number = UUID(parameters[name]).int
            return parameters | ({name: str(UUID(int=number % KNOWN + 1))} if number % 2 else {})
    return parameters


@document.hook
def map_query(_context: schemathesis.HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Let no request wait long for an outcome that never comes."""
    if query and isinstance(query.get("wait"), int | float) and 0 <= query["wait"] <= 10:
        return query | {"wait": query["wait"] / 1000}
    return query


@document.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Half of those who sign in rightly have a password, or a token to refresh."""
    match context.operation and context.operation.path, body:
        case "/api/token/", {"username": str(name), "password": str(word)} if len(name) % 2 and 0 < len(word) < 1000:
            return body | {"username": "olga", "password": PASSWORD}
        case "/api/token/refresh/", {"refresh": str(token)} if len(token) in range(1, 200, 2):
            return body | {"refresh": issue.sign_in(olga(), SCOPES).refresh}
    return body


def olga() -> User:
    """Whose the known todos are."""
    user, is_new = User.objects.get_or_create(username="olga")
    if is_new:
        keys.make_first()
        user.set_password(PASSWORD)
        user.save()
    if Todo.objects.count() < KNOWN:  # some were deleted
        Todo.objects.all().delete()
        make_todos(KNOWN)
        Todo.objects.update(owner=owner_of(user))
    return user


@document.parametrize()
@limits(limits.default, max_examples=60)
@pytest.mark.django_db(transaction=True)
@override_settings(API_AUTH="token", PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
def test_the_api_keeps_what_its_document_says(case: Case[Any], live_server: LiveServer) -> None:
    token = issue.access_token(olga(), SCOPES)
    ensure_ledger(TOPIC, [0])
    PartitionLedger.objects.update(next_offset=KNOWN // 2)
    answer = case.call(base_url=live_server.url, headers=bearer(token))
    case.validate_response(answer, excluded_checks=unfit_checks(case, answer.status_code), headers=bearer(token))


def test_the_document_is_valid_and_nothing_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")
    assert "openapi: 3.1.0" in capsys.readouterr().out


def test_limits_and_errors_are_in_the_document(client: Client) -> None:
    openapi = client.get(DOCUMENT).json()
    todo = openapi["components"]["schemas"]["TodoRequest"]["properties"]
    assert (TITLE_MAX, DESCRIPTION_MAX) == (todo["title"]["maxLength"], todo["description"]["maxLength"])
    assert "minLength" not in todo["description"]
    (search,) = [one for one in openapi["paths"]["/api/todos/"]["get"]["parameters"] if one["name"] == "search"]
    assert r"^[^\u0000]*$" == search["schema"]["pattern"] == todo["description"]["pattern"]
    operations = [one for path in openapi["paths"].values() for name, one in path.items()]
    assert 9 == len(operations)
    for operation in operations:
        assert {"401", "406", "429", "500", "503"} <= set(operation["responses"])
        is_open = operation["operationId"].startswith("token_")
        assert is_open is not ("security" in operation)
        assert is_open is not ("403" in operation["responses"])
        for status, response in operation["responses"].items():
            assert ["application/problem+json"] == list(response["content"]) if int(status) >= 400 else True
    assert "bearer" == openapi["components"]["securitySchemes"]["token"]["scheme"]
    signing_in = {
        path for path, methods in openapi["paths"].items() for one in methods.values() if "security" not in one
    }
    assert {"/api/token/", "/api/token/refresh/"} == signing_in
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
