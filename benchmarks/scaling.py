"""Measure what a todo costs each party, with one process of each. Compare what the capacity model predicts from that
with two processes, other numbers of partitions, and edge and drain on the same cores."""

from dataclasses import replace

from benchmarks.capacity.costs import costs_of
from benchmarks.client import Job
from benchmarks.measures import Measure
from benchmarks.options import Options
from benchmarks.scaling_measures import CALIBRATED_AT, PREDICTED_AT, Seen, costs, predictions
from benchmarks.scaling_runs import Runs
from benchmarks.world import CORES, World


def run(world: World, options: Options) -> tuple[list[Measure], str]:
    runs, seen = Runs(world, options), Seen()
    for number in range(options.rounds):
        _round(runs, seen, options, number)
    found = list(costs(seen))
    predicted = predictions(costs_of([measure.as_json() for measure in found]), seen, cores=len(CORES))
    reconciled = f"{runs.acknowledged:,} acknowledged = in Kafka; all of {options.scaling_rows:,} stored in every drain"
    return [*found, *predicted], reconciled


def _round(runs: Runs, seen: Seen, options: Options, number: int) -> None:
    single = Job(connections=options.connections, seconds=options.seconds, warmup=options.warmup, tag=f"round {number}")
    batch = replace(single, path="/new/batch/", batch=1000, connections=8)
    seen.single.append(runs.intake(1, single))
    seen.two_edges.append(runs.intake(2, single))
    seen.batch.append(runs.intake(1, batch))
    seen.one_child.append(runs.drain(1, max(seen.two_children)))
    for partitions, windows in seen.two_children.items():
        windows.append(runs.drain(2, partitions))
    with runs.flow():
        seen.calibration.append(runs.delay(CALIBRATED_AT))
        seen.delays.append(runs.delay(PREDICTED_AT))
        seen.through.append(runs.through(single))
        seen.through_batch.append(runs.through(batch))
