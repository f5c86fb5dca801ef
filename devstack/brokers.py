"""Several nodes of Apache Kafka as one service: each topic has three replicas, of which two must be in sync."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devstack.kafka import Kafka
from devstack.ports import free_port
from devstack.process import Process


class Brokers(Kafka):
    """Real Kafka only: the stand-in for machines without Java has no clusters."""

    def __init__(self, directory: Path, *, count: int = 3) -> None:
        super().__init__(directory)
        quorum = {node: free_port() for node in range(1, count + 1)}
        self.nodes = [Kafka(directory / f"node{node}", node=node, quorum=quorum) for node in quorum]

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(node.bootstrap_servers for node in self.nodes)

    @property
    def process(self) -> Process:
        return self.nodes[0].process

    def launch(self) -> None:
        self._all(Kafka.launch)

    def wait_ready(self) -> None:
        self._all(Kafka.wait_ready)

    def stop(self) -> None:
        self._all(Kafka.stop)  # at once: the last ones would wait for a quorum in vain

    def kill(self) -> None:
        self._all(Kafka.kill)

    def pause(self) -> None:
        self._all(Kafka.pause)

    def resume(self) -> None:
        self._all(Kafka.resume)

    def _all(self, act: Callable[[Kafka], None]) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(act, self.nodes))
