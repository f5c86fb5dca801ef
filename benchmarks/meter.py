"""How many core-seconds each party takes, and how many the machine; the memory of a process and its children."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import psutil

from devstack.process import Process

Seconds = dict[str, float]


def core_seconds(parties: Mapping[str, Iterable[Process]]) -> Seconds:
    """Since they started, with all their children, and as `rest` what no party took of the machine's."""
    of_parties = {name: sum(map(tree_seconds, processes)) for name, processes in parties.items()}
    return of_parties | {"rest": _of_machine() - sum(of_parties.values())}


def since(before: Seconds, after: Seconds) -> Seconds:
    return {name: after[name] - before[name] for name in after}


def connections(process: Process, port: int) -> int:
    """Established ones of the process and its children to a port."""
    found = 0
    for each in _tree(process):
        with suppress(psutil.NoSuchProcess):
            found += sum(
                one.status == psutil.CONN_ESTABLISHED and bool(one.raddr) and one.raddr.port == port
                for one in each.net_connections("tcp")
            )
    return found


def tree_seconds(process: Process) -> float:
    """Whoever ended is counted by its parent."""
    total = 0.0
    for each in _tree(process):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def tree_memory(process: Process) -> float:
    """MiB that are resident. A page that several processes share counts once, in equal parts (PSS)."""
    total = 0.0
    for each in _tree(process):
        with suppress(psutil.NoSuchProcess):
            total += each.memory_full_info().pss / 2**20
    return total


def child_memory(process: Process) -> float:
    """MiB that are resident of the largest child, with what it shares with others (RSS)."""
    largest = 0.0
    for each in _tree(process)[1:]:
        with suppress(psutil.NoSuchProcess):
            largest = max(largest, each.memory_info().rss / 2**20)
    return largest


def _tree(process: Process) -> list[psutil.Process]:
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]


def _of_machine() -> float:
    """Not what other machines took of this one's cores (steal), and no waiting."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)
