"""Predict what one machine can do at most, where all parties share its cores.

A stage is as fast as its processes allow, each of which works on one todo at a time, or as the cores allow, which all
parties share: whichever is less.
"""

from benchmarks.capacity.costs import Drain, Intake

PRECISION = 1e-6


def intake_rate(intake: Intake, *, edges: int, cores: float) -> float:
    """Return the todos a second that the edge accepts while no worker stores."""
    return min(edges * intake.rate, cores / intake.demand)


def drain_rate(drain: Drain, *, children: int, partitions: int, cores: float) -> float:
    """Return the rows a second from a backlog. A child without a partition is idle."""
    return min(min(children, partitions) * drain.rate, cores / drain.demand)


def through_rate(intake: Intake, drain: Drain, *, edges: int, children: int, partitions: int, cores: float) -> float:
    """Return the todos a second that are accepted and stored, all of it on the same cores.

    Where the cores do not suffice, everything takes longer by one factor, which is searched for. A child without a
    backlog stores few rows again and again, and costs more than its rows.
    """
    working = min(children, partitions)
    transaction = drain.small_cores * drain.small  # core-seconds; the rest of its time it waits

    def rate(slower: float) -> float:
        return min(edges * intake.rate, working * drain.rate) / slower

    def used(slower: float) -> float:
        left = working - rate(slower) * slower / drain.rate
        often = left / (transaction * slower + drain.small - transaction)
        return rate(slower) * (intake.demand + drain.demand) + often * transaction

    low, high = 1.0, 1000.0
    if used(low) <= cores:
        return rate(low)
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if used(middle) > cores else (low, middle)
    return rate(high)
