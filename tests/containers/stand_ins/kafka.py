"""Starts a broker from KAFKA_* and CLUSTER_ID, as the entry point of apache/kafka does."""

import os
from pathlib import Path

JAVA = [
    "/opt/java/bin/java",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-cp",
    "/opt/kafka/libs/*",
]
PROPERTIES = Path("/opt/kafka/config/server.properties")
FORMAT = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "--config", str(PROPERTIES), "--cluster-id"]
HEAP = "KAFKA_HEAP_OPTS"


def main() -> None:
    told = {name: value for name, value in os.environ.items() if name.startswith("KAFKA_") and name != HEAP}
    lines = (f"{name.removeprefix('KAFKA_').replace('_', '.').lower()}={value}\n" for name, value in told.items())
    PROPERTIES.write_text("".join(lines))
    java = [JAVA[0], *os.environ.get(HEAP, "-Xmx512m").split(), *JAVA[1:]]
    if code := os.spawnv(os.P_WAIT, java[0], [*java, *FORMAT, os.environ["CLUSTER_ID"]]):
        raise SystemExit(code)
    os.execv(java[0], [*java, "kafka.Kafka", str(PROPERTIES)])


if __name__ == "__main__":
    main()
