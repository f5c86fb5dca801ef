"""Each fault has a name, and what is judged is held for long enough."""

from tests.chaos.campaign import GRACE_SECONDS, JUDGED_SECONDS
from tests.chaos.faults import FAULTS
from todos.monitoring.problems import ProblemCode


def test_the_probe_can_name_what_each_fault_expects_of_it() -> None:
    codes = {code for fault in FAULTS.values() for code in fault.codes}

    assert codes <= {*ProblemCode}


def test_each_kind_of_problem_is_judged_by_some_fault() -> None:
    judged = {name for name, fault in FAULTS.items() if fault.hold_seconds[0] >= GRACE_SECONDS + JUDGED_SECONDS}

    assert judged >= {
        "clock-ahead",
        "clock-behind",
        "held-row",
        "locked-table-60s",
        "older-kafka-log",
        "open-transaction",
        "queue-flood",
        "readonly-postgres",
        "replica-redis",
    }
    assert all(FAULTS[name].codes for name in judged)
