"""The reports of several runs as one table."""

import json
from pathlib import Path
from typing import Any

from tests.chaos.report import Line, Report
from tests.chaos.table import markdown

VERSIONS = {"system": "Linux", "python": "3.11.2", "postgresql": "18.1 (Debian)", "broker": "Kafka", "valkey": "9.0"}


def report(folder: Path, seed: int, *lines: Line, **changes: Any) -> Path:
    fields: dict[str, Any] = {
        "seed": seed,
        "options": {"seconds": 600.0, "rate": 50.0, "hold": None, "faults": []},
        "started": "2026-11-24T20:18:00+00:00",
        "seconds": 671.5,
        "machine": "2 cores",
        "versions": VERSIONS,
        "lines": list(lines),
        "injections": [],
        "skipped": {},
        "restarts": {},
        "unconfirmed": 1000,
        "dead_letters": 7,
        "read_ahead": 2,
        "violations": {},
    }
    path = folder / f"{seed}.json"
    Report(**fields | changes).write(path)
    return path


def test_counts_are_summed_and_times_are_the_longest(tmp_path: Path) -> None:
    one = report(
        tmp_path,
        1,
        Line(
            "kill-edge",
            2,
            1000,
            1000,
            3,
            longest_stall=1.26,
            longest_recovery=9.0,
            longest_catch_up=99.0,
            probe="row-held",
        ),
        Line("(between faults)", 0, 10, 10),
        Line("all", 2, 1010, 1010, 3, longest_stall=1.26, longest_recovery=9.0),
    )
    two = report(
        tmp_path,
        2,
        Line("flush-valkey", 1, 5, 5, 0, longest_stall=4.0),
        Line(
            "kill-edge",
            1,
            500,
            499,
            0,
            lost=1,
            stored_twice=2,
            longest_stall=0.5,
            longest_recovery=9.5,
            probe="row-held beat-silent",
        ),
        Line("(between faults)"),
        Line("all", 2, 505, 504, 0, 1, 2, 4.0, 9.5),
    )

    assert markdown([one, two]).splitlines() == [
        "| fault | times | acknowledged | stored | duplicates absorbed | lost | stored twice"
        " | longest stall | longest recovery | probe |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        "| flush-valkey | 1 | 5 | 5 | 0 | 0 | 0 | 4.0 s | 0.0 s |  |",
        "| kill-edge | 3 | 1,500 | 1,499 | 3 | 1 | 2 | 1.3 s | 9.5 s | beat-silent row-held |",
        "| (between faults) | 0 | 10 | 10 | 0 | 0 | 0 | 0.0 s | 0.0 s |  |",
        "| all | 4 | 1,515 | 1,514 | 3 | 1 | 2 | 4.0 s | 9.5 s |  |",
        "",
        "Seeds 1, 2: faults for 600 s, 50 POSTs a second at most; 2026-11-24; 2 cores; Python 3.11.2;"
        " PostgreSQL 18.1; Kafka; Valkey 9.0.",
        "2,000 POSTs were not confirmed; 14 dead letters; 4 batches read ahead; every run was exact.",
    ]


def test_an_older_report_and_one_that_is_not_exact_are_told_apart(tmp_path: Path) -> None:
    lines = Line("(between faults)"), Line("all")
    held = {"seconds": 1.0, "rate": 50.0, "hold": 120.0, "brokers": 3, "faults": []}
    new = report(tmp_path, 3, *lines, violations={"stored twice": ["x"]}, options=held)
    old = report(tmp_path, 4, *lines)
    shown = json.loads(old.read_text())
    del shown["machine"], shown["options"]["hold"], shown["read_ahead"]
    old.write_text(json.dumps(shown))

    *_, first, second, verdict = markdown([new, old]).splitlines()

    assert first.startswith("Seed 3: faults for 1 s, each held for 120 s, 50 POSTs a second at most; 2026-11-24; 2 co")
    assert second.startswith("Seed 4: faults for 600 s, 50 POSTs a second at most; 2026-11-24; Linux; Python 3.11.2;")
    assert "3 brokers of Kafka" in first
    assert verdict.endswith("14 dead letters; 2 batches read ahead; NOT exact: seed 3.")
