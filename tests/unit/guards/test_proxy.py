"""HAProxy serves every path of edge and web to clients, except those for operators."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from starlette.routing import BaseRoute, Mount, Route

from docker.check_proxy import CONFIG, OPERATOR_PATHS, complaints, serves
from edge_api.main import create_app
from edge_api.settings import load_settings


def edge_paths() -> set[str]:
    routes: list[BaseRoute] = create_app(load_settings({"EDGE_AUTH": "open"})).routes
    return {
        route.path + ("/x" if isinstance(route, Mount) else "") for route in routes if isinstance(route, Route | Mount)
    }


def web_paths(patterns: list[URLPattern | URLResolver] | None = None, prefix: str = "/") -> Iterator[str]:
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern).lstrip("^").rstrip("$")
        if isinstance(pattern, URLResolver):
            yield from web_paths(pattern.url_patterns, path)
        else:
            yield path


@pytest.mark.parametrize(("side", "paths"), [("edge", edge_paths()), ("web", {*web_paths(), "/static/x"})])
def test_each_path_is_for_clients_or_for_operators(side: str, paths: set[str]) -> None:
    assert {"/healthz", "/metrics", "/readyz"} <= paths
    assert set() == {path for path in paths if serves(CONFIG.read_text(), side, path) is (path in OPERATOR_PATHS)}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("/openapi.json /healthz", "/openapi.json /metrics", "serves /metrics of edge, which is for operators"),
        ("path_beg /admin/", "path_beg /readyz/ /admin/", "serves /readyz/pipeline of web"),
        ("body_size gt 1048576", "body_size gt 1048577", "must refuse bodies of more than 1048576 bytes to edge"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    config = tmp_path / "haproxy.cfg"
    text = CONFIG.read_text()
    assert old in text
    config.write_text(text.replace(old, new))

    assert [] == list(complaints(CONFIG))
    assert complaint in "\n".join(complaints(config))
