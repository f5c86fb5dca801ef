"""Read what one todo costs, as `make bench-scaling` measured it. The code contains no number of a machine."""

import json
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

PART = "scaling"
UNITS = {"us": 1e-6, "ms": 1e-3}  # other values are counts, bytes or rates


class NoCosts(Exception):
    """The file is missing, or it lacks some costs; the message says which."""


class Intake(NamedTuple):
    """The costs of one todo that a client sends, alone or in a batch. Times are core-seconds."""

    edge: float
    kafka: float
    rest: float  # the client, and what belongs to no process
    rate: float  # of one edge process, todos a second
    record: float  # bytes in Kafka's log
    connections: float  # of one edge process to a single broker

    @property
    def demand(self) -> float:
        """Return the core-seconds of all parties together."""
        return self.edge + self.kafka + self.rest


class Drain(NamedTuple):
    """The costs of one row that a worker stores."""

    worker: float
    postgres: float
    kafka: float
    rest: float
    rate: float  # of one worker child, rows a second
    heap: float  # bytes
    indexes: float
    wal: float
    small: float  # seconds from one transaction of few rows to the next
    small_cores: float  # that a child, Kafka and PostgreSQL keep busy with them beside what the rows cost
    hop: float  # seconds from the edge to the transaction, where no other is under way
    kafka_connections: float  # of one child to a single broker
    postgres_connections: float

    @property
    def demand(self) -> float:
        return self.worker + self.postgres + self.kafka + self.rest


class Costs(NamedTuple):
    single: Intake
    batch: Intake
    drain: Drain


T = TypeVar("T", Intake, Drain)


def measure_name(stage: str, field: str) -> str:
    """Return the name of a cost, under which the benchmark writes it and this module finds it."""
    return f"{stage}: {field.replace('_', ' ')}"


def costs_of(measures: list[dict[str, Any]]) -> Costs:
    """Find the costs among the measures of a results file. Raises NoCosts."""
    found = {measure["name"]: measure["ours"] * UNITS.get(measure["unit"], 1) for measure in measures}
    return Costs(_stage(Intake, "single", found), _stage(Intake, "batch", found), _stage(Drain, "drain", found))


def _stage(kind: type[T], stage: str, found: dict[str, float]) -> T:
    names = [measure_name(stage, field) for field in kind._fields]
    if missing := [name for name in names if name not in found]:
        raise NoCosts(f"it lacks {', '.join(missing)}; make bench-scaling measures them")
    return kind(*(found[name] for name in names))


class Results(NamedTuple):
    path: Path
    measured: str
    machine: str
    costs: Costs


def read(path: Path) -> Results:
    """Read a results file. Raises NoCosts."""
    try:
        section = json.loads(path.read_text())["parts"][PART]
        machine = section["machine"]
        about = section["measured"], f"{machine['cores']} cores of {machine['cpu']}"
        return Results(path, *about, costs_of(section["measures"]))
    except OSError as exc:
        raise NoCosts(f"{path}: {exc.strerror}") from exc
    except NoCosts as exc:
        raise NoCosts(f"{path}: {exc}") from exc
    except (ValueError, LookupError, TypeError) as exc:
        raise NoCosts(f"{path}: no results of make bench-{PART} are in it") from exc


def newest(folder: Path) -> Results:
    """Read the newest results file that has costs. Raises NoCosts."""
    for path in sorted(folder.glob("*.json"), reverse=True):
        if not path.stem.endswith("-quick") and f'"{PART}"' in path.read_text():
            return read(path)
    raise NoCosts(f"{folder}: no results of make bench-{PART}; --results names a file that has them")
