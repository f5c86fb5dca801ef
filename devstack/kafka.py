"""Apache Kafka (KRaft), one node or several, or the noida-db wheel's broker where Java or the jars cannot be had."""

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from devstack import jars
from devstack.ports import HOST, accepts, free_port
from devstack.process import Process, ServiceError
from devstack.service import Service

# Small and quick to start; server and command-line tools alike.
JVM = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.awt.headless=true"]
LOGGING = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
LOGGING += ["-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss"]
TOOLS = {
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-transactions": "org.apache.kafka.tools.TransactionsCommand",
}


class Kafka(Service):
    """Topics have to be created before use."""

    start_seconds = 90

    def __init__(
        self, directory: Path, port: int = 0, *, node: int = 1, quorum: Mapping[int, int] | None = None, **options: Any
    ) -> None:
        """`quorum`: the controller's port of each node of the cluster; without it this is the only one."""
        super().__init__(directory, port, **options)
        self.node, self.quorum = node, quorum or {node: free_port()}

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def data(self) -> Path:
        """The folder of Apache Kafka's logs and metadata. Copy or replace it only while the node is stopped."""
        return self.directory / "apache"

    def prepare(self) -> Process:
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            java = _java()
        except ServiceError as exc:
            print(f"Kafka: {exc}; starting the noida-db broker instead", file=sys.stderr, flush=True)
            return self._stand_in()
        properties = self.directory / "server.properties"
        settings = _settings(f"{HOST}:{self.port}", self.data, self.node, self.quorum) | dict(self.settings)
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        if not (self.data / "meta.properties").is_file():
            _format(java, properties)
        return Process("Kafka", [*java, "kafka.Kafka", str(properties)], log=self.directory / "kafka.log")

    def is_ready(self) -> bool:
        if not accepts(self.port):  # the client would try again for 30 s
            return False
        options = {"bootstrap_servers": self.bootstrap_servers, "api_version": (4, 0), "request_timeout_ms": 5000}
        try:
            admin = KafkaAdminClient(**options)
        except KafkaError:
            return False
        try:
            admin.list_topics()
        except KafkaError:
            return False
        finally:
            admin.close()
        return True

    def _stand_in(self) -> Process:
        spec = find_spec("noida_db")
        if spec is None or spec.origin is None:
            raise ServiceError("Kafka: the wheel noida-db is missing; run `make install`")
        program = Path(spec.origin).parent / "noida-db"
        program.chmod(0o755)  # the wheel forgets to
        options = ["--data-dir", str(self.directory / "noida"), "--only", "kafka", "--kafka-port", str(self.port)]
        return Process("noida-db", [str(program), "start", *options], log=self.directory / "kafka.log")


def tool_command(tool: str, bootstrap_servers: str, *arguments: str) -> list[str]:
    """One of Kafka's own command-line tools, by the name it has in Kafka's bin folder less `.sh`."""
    if tool not in TOOLS:
        raise ServiceError(f"{tool}: unknown; there are {', '.join(TOOLS)}")
    return [*_java(), TOOLS[tool], "--bootstrap-server", bootstrap_servers, *arguments]


def _java() -> list[str]:
    java = jars.find_java()
    if java is None:
        raise ServiceError(f"no Java {jars.OLDEST_JAVA} or later")
    return [str(java), *JVM, *LOGGING, "-cp", jars.classpath()]


def _settings(address: str, data: Path, node: int, quorum: Mapping[int, int]) -> dict[str, object]:
    replicas = min(len(quorum), 3)
    enough = max(replicas - 1, 1)
    return {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": ",".join(f"{other}@{HOST}:{port}" for other, port in quorum.items()),
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{address},CONTROLLER://{HOST}:{quorum[node]}",
        "advertised.listeners": f"PLAINTEXT://{address}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": enough,
        "group.initial.rebalance.delay.ms": 0,
        # After a SIGKILL the controller waits for this long before it lets the broker back in; the default is 9000.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": enough,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": enough,
    }


def _format(java: list[str], properties: Path) -> None:
    command = [*java, "kafka.tools.StorageTool", "format", "--config", str(properties)]
    command += ["--cluster-id", "dG9kby1waXBlbGluZS0wMQ", "--ignore-formatted"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise ServiceError(f"Kafka: its storage could not be formatted: {' '.join(done.stderr.split())[:300]}")
