"""Turn what `scaling` saw into measures: the costs of one process each, and predictions beside what was measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from benchmarks.capacity.bounds import drain_rate, intake_rate, through_rate
from benchmarks.capacity.costs import Costs, Drain, Intake, measure_name
from benchmarks.capacity.simulation import Setting, simulate
from benchmarks.measures import Measure, within
from benchmarks.meter import Seconds

WITHIN = 25  # percent
CALIBRATED_AT, PREDICTED_AT = 2_000.0, 1_000.0  # todos a second
PARTITIONS = (1, 3, 8)
UNITS = {"rate": "/s", "record": "B", "heap": "B", "indexes": "B", "wal": "B", "small": "ms", "hop": "ms"}
CHILDREN = 2
COUNTS = ("small_cores", "connections", "kafka_connections", "postgres_connections")


@dataclass
class Window:
    """So many todos or rows, in so many seconds, for so many core-seconds of each party."""

    count: int
    seconds: float
    used: Seconds
    extra: Mapping[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    def value(self, name: str) -> float:
        """Of one todo or row, by the name of a cost."""
        if name == "rate":
            return self.rate
        return self.extra[name] if name in self.extra else self.used[name] / self.count


class Delay(NamedTuple):
    """From the edge to the transaction, and from one transaction to the next; seconds."""

    least: float
    p50: float
    gap: float
    window: Window


@dataclass
class Seen:
    """By round."""

    single: list[Window] = field(default_factory=list)
    two_edges: list[Window] = field(default_factory=list)
    batch: list[Window] = field(default_factory=list)
    one_child: list[Window] = field(default_factory=list)
    two_children: dict[int, list[Window]] = field(default_factory=lambda: {number: [] for number in PARTITIONS})
    through: list[float] = field(default_factory=list)  # todos a second
    through_batch: list[float] = field(default_factory=list)
    calibration: list[Delay] = field(default_factory=list)
    delays: list[Delay] = field(default_factory=list)


# --- What one process costs


def costs(seen: Seen) -> Iterator[Measure]:
    for stage, windows in (("single", seen.single), ("batch", seen.batch)):
        for name in Intake._fields:
            yield _cost(stage, name, [window.value(name) for window in windows])
    small = {
        "small": [each.gap for each in seen.calibration],
        "small_cores": list(map(_small_cores, seen.calibration, seen.one_child, seen.single)),
        "hop": [each.least for each in seen.calibration],
    }
    for name in Drain._fields:
        yield _cost("drain", name, small.get(name) or [window.value(name) for window in seen.one_child])


def _small_cores(delay: Delay, drain: Window, intake: Window) -> float:
    """Of one child and who works for it, without what the rows would cost in large transactions."""
    window, parties = delay.window, ("worker", "postgres", "kafka")
    row = sum(drain.value(party) for party in parties) + intake.value("kafka")
    return (sum(window.used[party] for party in parties) - window.count * row) / window.seconds / CHILDREN


def _cost(stage: str, name: str, values: list[float]) -> Measure:
    unit = "" if name in COUNTS else UNITS.get(name, "us")
    factor = {"us": 1e6, "ms": 1e3}.get(unit, 1)
    return Measure(measure_name(stage, name), unit, [factor * value for value in values])


# --- What the model predicts


def predictions(found: Costs, seen: Seen, *, cores: int) -> Iterator[Measure]:
    measured = [each.rate for each in seen.two_edges]
    yield _prediction("two edge processes", measured, intake_rate(found.single, edges=2, cores=cores))
    for partitions, windows in seen.two_children.items():
        rate = drain_rate(found.drain, children=2, partitions=partitions, cores=cores)
        yield _prediction(f"two children, partitions: {partitions}", [each.rate for each in windows], rate)
    for name, intake, measured in (
        ("edge and drain, single", found.single, seen.through),
        ("edge and drain, batches", found.batch, seen.through_batch),
    ):
        rate = through_rate(intake, found.drain, edges=1, children=CHILDREN, partitions=6, cores=cores)
        yield _prediction(name, measured, rate)
    yield from _simulated(this_machine(found.drain, cores), seen)


def this_machine(drain: Drain, cores: int) -> Setting:
    """Where all parties share the cores, the database's part is that of all who work for a row."""
    return Setting(
        rate=0,
        row=1 / drain.rate,
        database_row=drain.demand,
        database_cores=cores,
        small=drain.small,
        hop=drain.hop,
    )


def _simulated(setting: Setting, seen: Seen) -> Iterator[Measure]:
    delays = [sample.delay for sample in simulate(setting, rate=PREDICTED_AT)]
    name = f"edge to transaction at {PREDICTED_AT:,.0f}/s, p50"
    yield _prediction(name, [each.p50 * 1e3 for each in seen.delays], median(delays) * 1e3, "simulated", "ms")
    most = max(PARTITIONS)
    last = simulate(setting, rate=1e6, partitions=most, every=1, budget=60)[-1]
    rates = [each.rate for each in seen.two_children[most]]
    yield _prediction("two children, a backlog", rates, last.stored / last.at, "simulated")


def _prediction(name: str, measured: list[float], predicted: float, by: str = "predicted", unit: str = "/s") -> Measure:
    return Measure(name, unit, measured, [predicted] * len(measured), by, within(WITHIN))
