"""A uvicorn whose internals changed is noticed at start; the edge then serves with uvicorn's own protocol."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from devstack.environment import ROOT
from devstack.ports import free_port
from edge_api.server.protocol import bounded
from edge_api.server.self_check import check_protocol

FORCED_TO_FAIL = """
from edge_api.server import self_check
self_check.EXPECTED = dict.fromkeys(self_check.EXPECTED, b"nothing of the kind")
from edge_api.__main__ import main
main()
"""


class RenamedAttribute(bounded(10)):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.pipeline


class RenamedMethod(bounded(10)):  # type: ignore[misc]
    send_400_response = HttpToolsProtocol.send_400_response


def test_the_pinned_uvicorn_passes() -> None:
    assert check_protocol(bounded(10)) is None


@pytest.mark.parametrize("protocol", [RenamedAttribute, RenamedMethod, HttpToolsProtocol])
def test_changed_internals_are_noticed(protocol: type[HttpToolsProtocol]) -> None:
    assert check_protocol(protocol) is not None


def test_after_a_failed_check_the_edge_serves_and_warns_once(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "edge.log"
    environ = os.environ | {"EDGE_AUTH": "open", "EDGE_PORT": str(port), "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    with log.open("wb") as output:
        command = [sys.executable, "-c", FORCED_TO_FAIL]
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 30
        while not is_alive(port):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        assert httpx.post(f"http://127.0.0.1:{port}/new/", json={"title": ""}).status_code == 422
    finally:
        process.terminate()
        process.wait(30)
    assert 1 == log.read_text().count("Requests are served without bounds")


def is_alive(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").is_success
    except httpx.TransportError:
        return False
