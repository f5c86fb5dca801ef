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
def edge_environ(request: pytest.FixtureRequest) -> dict[str, str]:
    """Variables for the edges of a test; with either_kafka_api it runs with those of a changed kafka-python too."""
    return dict(getattr(request, "param", {}))


@pytest.fixture
def start_edge(tmp_path: Path, edge_environ: dict[str, str]) -> Iterator[Callable[..., EdgeProcess]]:
    edges = []

    def start(bootstrap_servers: str, topic: str, **environ: str) -> EdgeProcess:
        edges.append(edge := EdgeProcess(tmp_path, bootstrap_servers, topic, **edge_environ, **environ))
        edge.start()
        return edge

    yield start
    for edge in edges:
        if edge.process is not None and edge.process.poll() is None:
            edge.stop()
