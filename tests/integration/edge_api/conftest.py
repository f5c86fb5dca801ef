"""Edge processes; and a broker of their own for the tests that freeze and stop it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack import Kafka
from tests.integration.edge_api.support import EdgeProcess


@pytest.fixture(scope="module")
def edge_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    service = Kafka(tmp_path_factory.mktemp("edge-kafka"))
    try:
        service.start()
        yield service
    finally:
        service.resume()
        service.stop()


@pytest.fixture
def start_edge(tmp_path: Path) -> Iterator[Callable[..., EdgeProcess]]:
    edges = []

    def start(bootstrap_servers: str, topic: str, **environ: str) -> EdgeProcess:
        edges.append(edge := EdgeProcess(tmp_path, bootstrap_servers, topic, **environ))
        edge.start()
        return edge

    yield start
    for edge in edges:
        if edge.process is not None and edge.process.poll() is None:
            edge.stop()
