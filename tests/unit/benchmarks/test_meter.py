"""The meter counts a process with its children."""

import sys
from pathlib import Path

import pytest

from benchmarks.meter import child_memory, tree_memory, tree_seconds
from devstack.process import Process
from tests.support.waiting import eventually

MIB = 128
PROGRAM = f"""
import os, time
held = bytearray(os.urandom(1)) * ({MIB} << 20)
os.fork()
deadline = time.process_time() + 0.2
while time.process_time() < deadline:
    pass
print("ready", flush=True)
time.sleep(60)
"""


def test_the_meter_counts_a_forked_childs_time_but_not_again_what_it_shares(tmp_path: Path) -> None:
    process = Process("forking", [sys.executable, "-c", PROGRAM], log=(log := tmp_path / "log"))
    process.start()
    try:
        eventually(lambda: log.read_text().count("ready") == 2, seconds=30, what="both processes")
        assert MIB < child_memory(process)
        assert MIB < tree_memory(process) < 1.5 * MIB
        assert 0.4 <= tree_seconds(process) == pytest.approx(0.4, abs=0.4)
    finally:
        process.stop()
