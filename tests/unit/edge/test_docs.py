"""The OpenAPI document is complete and valid, and /docs loads nothing from other hosts."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI
from fastapi.openapi.models import OpenAPI

from edge_api.contract import DESCRIPTION_MAX, TITLE_MAX


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


def test_every_answer_is_described(openapi: dict[str, Any]) -> None:
    responses = openapi["paths"]["/new/"]["post"]["responses"]
    assert {"202", "400", "408", "413", "415", "422", "500", "503"} == set(responses)
    assert "Location" in responses["202"]["headers"]
    assert "Retry-After" in responses["503"]["headers"]
    for status in set(responses) - {"202"}:
        assert list(responses[status]["content"]) == ["application/problem+json"]
    assert {"/new/", "/healthz", "/readyz"} == set(openapi["paths"])


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
