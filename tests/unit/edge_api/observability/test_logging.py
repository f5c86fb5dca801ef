"""An outage does not flood the log, and each message still comes once."""

import logging
import subprocess
import sys

from devstack.environment import ROOT
from edge_api.observability.logging import RepeatFilter

OUTAGE = """
from edge_api.observability.logging import configure_logging
from edge_api.publishing.in_flight import log
from kafka.net.manager import log as kafka_log

configure_logging("INFO", "line")
for number in range(100):
    log.warning("Kafka did not store a batch: %s: %s", "Refused", number)
    kafka_log.error("Connection %s lost", number)
"""


def test_repeats_of_a_message_are_dropped() -> None:
    repeats = RepeatFilter()
    records = [logging.makeLogRecord({"name": "kafka", "msg": "Connection %s lost", "args": (n,)}) for n in range(100)]
    other = logging.makeLogRecord({"name": "kafka", "msg": "Something else"})
    assert sum(repeats.filter(record) for record in records) == 1
    assert repeats.filter(other)


def test_warnings_of_batches_and_of_kafka_python_are_logged_once() -> None:
    """The configured names are those of loggers that exist: a name that no logger has would drop nothing."""
    command = [sys.executable, "-c", OUTAGE]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    lines = process.stderr.splitlines()
    assert ["Kafka did not store a batch: Refused: 0", "Connection 0 lost"] == [
        line.split(": ", 1)[1] for line in lines
    ]
