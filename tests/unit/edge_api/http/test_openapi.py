"""The OpenAPI document is complete and valid, and /docs loads nothing from other hosts."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI
from fastapi.openapi.models import OpenAPI

from edge_api.contract import DESCRIPTION_MAX, MAX_BATCH_TODOS, TITLE_MAX, parse_json
from edge_api.http.schemas import NewTodo
from edge_api.http.shape import MAX_BATCH_VALUES, MAX_FIELDS
from edge_api.main import create_app
from edge_api.settings import EdgeSettings, Settings


@pytest.fixture
def openapi(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def test_the_document_is_valid_openapi(openapi: dict[str, Any]) -> None:
    assert OpenAPI.model_validate(openapi).openapi.startswith("3.1")


def test_every_reference_leads_somewhere(openapi: dict[str, Any]) -> None:
    references = set(re.findall(r"'\$ref': '([^']+)'", str(openapi)))
    assert references
    for reference in references:
        place: Any = openapi
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_the_request_body_shows_its_limits_and_an_example(openapi: dict[str, Any]) -> None:
    body = openapi["paths"]["/new/"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    assert body["required"] is True
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["title"]
    assert (schema["properties"]["title"]["minLength"], schema["properties"]["title"]["maxLength"]) == (1, TITLE_MAX)
    assert schema["properties"]["description"]["anyOf"][0]["maxLength"] == DESCRIPTION_MAX
    assert schema["examples"][0]["title"] == "Do homework"


def test_the_body_of_a_batch_shows_its_limits_and_both_forms(openapi: dict[str, Any]) -> None:
    content = openapi["paths"]["/new/batch/"]["post"]["requestBody"]["content"]
    array = content["application/json"]["schema"]
    assert (1, MAX_BATCH_TODOS) == (array["minItems"], array["maxItems"])
    assert (MAX_FIELDS, MAX_BATCH_VALUES) == (array["items"]["maxProperties"], array["x-max-values"])
    assert openapi["paths"]["/new/"]["post"]["requestBody"]["content"]["application/json"]["schema"] == array["items"]
    for line in content["application/x-ndjson"]["example"].splitlines():
        parse_json(NewTodo, line.encode())


@pytest.mark.parametrize(
    ("path", "good"), [("/new/", {"202": "Accepted"}), ("/new/batch/", {"202": "BatchResult", "207": "BatchResult"})]
)
def test_every_answer_is_described(openapi: dict[str, Any], path: str, good: dict[str, str]) -> None:
    responses = openapi["paths"][path]["post"]["responses"]
    assert {*good, "400", "401", "403", "408", "413", "415", "422", "429", "500", "503"} == set(responses)
    for status in ("429", "503"):
        assert "Retry-After" in responses[status]["headers"]
    for status, response in responses.items():
        media_type = "application/json" if status in good else "application/problem+json"
        schema = {"$ref": f"#/components/schemas/{good.get(status, 'ProblemDetails')}"}
        assert {media_type: {"schema": schema}} == response["content"]


def test_the_receipt_s_url_is_described(openapi: dict[str, Any]) -> None:
    assert "Location" in openapi["paths"]["/new/"]["post"]["responses"]["202"]["headers"]


@pytest.mark.parametrize("path", ["/new/", "/new/batch/"])
def test_the_idempotency_key_is_described(openapi: dict[str, Any], path: str) -> None:
    (parameter,) = openapi["paths"][path]["post"]["parameters"]
    assert ("Idempotency-Key", "header") == (parameter["name"], parameter["in"])


def test_the_token_is_described_where_one_is_needed(settings: Settings, openapi: dict[str, Any]) -> None:
    edge = EdgeSettings(auth="token", jwks="http://localhost/jwks.json")
    guarded = create_app(Settings(edge, settings.kafka)).openapi()
    for path in ("/new/", "/new/batch/"):
        assert [{"token": []}] == guarded["paths"][path]["post"]["security"]
        assert "security" not in openapi["paths"][path]["post"]
    assert "bearer" == guarded["components"]["securitySchemes"]["token"]["scheme"]


def test_every_path_is_described(openapi: dict[str, Any]) -> None:
    assert {"/new/", "/new/batch/", "/healthz", "/readyz", "/metrics"} == set(openapi["paths"])


def test_the_docs_page_loads_only_from_the_edge(app: FastAPI, run: Callable[..., None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        page = await client.get("/docs")
        assert page.status_code == 200
        loaded = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", page.text)
        assert len(loaded) >= 4
        for link in loaded:
            address = urljoin("http://edge/docs", link)
            assert address.startswith("http://edge/")
            assert (await client.get(address)).status_code == 200
        assert "//" not in re.sub(r"<!--.*?-->|//[^\n]*\n", "", page.text)
        assert '"validatorUrl": null' in page.text

    run(app, scenario)
