"""Each check of the oracle notices what it is there for."""

from typing import Any

import pytest

from tests.chaos.evidence import Evidence, Move, Row
from tests.chaos.journal import Accepted, Journal, TopicRecord
from tests.chaos.oracle import CHECKS, violations

EXACT: dict[str, Any] = {
    "records": [
        TopicRecord((0, 0), "a", 1.0),
        TopicRecord((0, 1), "b", 2.0),
        TopicRecord((0, 2), "a", 3.0),  # a duplicate
        TopicRecord((1, 0), None, 4.0),  # poison
        TopicRecord((1, 1), "c", 5.0, "1"),  # of a POST that got no 202
        TopicRecord((1, 2), "c", 6.0, "2"),  # another content under its key
    ],
    "rows": [Row("a", "A", (0, 0)), Row("b", "B", (0, 1)), Row("c", "C", (1, 1), "1")],
    "letters": [(1, 0)],
    "conflicts": [(1, 2)],
    "moves": {0: [Move(0, 2), Move(2, 3)], 1: [Move(0, 3)]},
    "ledger": {0: 3, 1: 3},
    "ends": {0: 3, 1: 3},
    "losses": [],
    "receipts": [],
    "audit": [],
}


def evidence(**changes: Any) -> Evidence:
    journal = Journal(unconfirmed={"C": 5.0, "D": 6.0}, refused=changes.pop("refused", []))
    for offset, name in enumerate("ab"):
        journal.accept(Accepted(name, name.upper(), 1.0 + offset, 0, offset))
    return Evidence(journal=journal, **EXACT | changes)


def without(name: str, item: object) -> dict[str, Any]:
    return {name: [other for other in EXACT[name] if other != item]}


def with_another(name: str, item: object) -> dict[str, Any]:
    return {name: [*EXACT[name], item]}


def test_an_exact_run_passes_and_its_duplicate_is_counted() -> None:
    assert {} == violations(evidence())
    assert [(0, 2)] == [record.position for record in evidence().duplicates()]


WRONG: dict[str, list[dict[str, Any]]] = {
    "acknowledged, but lost": [without("rows", Row("b", "B", (0, 1)))],
    "stored twice": [
        with_another("rows", Row("other", "A", (0, 2))),
        with_another("rows", Row("other", "D", (0, 1))),
        with_another("letters", (0, 1)),
        with_another("letters", (1, 0)),
        with_another("letters", (1, 2)),
    ],
    "record with no outcome": [without("letters", (1, 0)), without("rows", EXACT["rows"][2])],
    "row that nobody sent": [
        with_another("rows", Row("d", "D", (5, 5))),
        {"rows": [*EXACT["rows"][:2], Row("c", "X", (1, 1))]},
    ],
    "dead letter of a good record": [with_another("letters", (1, 1))],
    "conflict not told, or told wrongly": [{"conflicts": []}, with_another("conflicts", (0, 2))],
    "acknowledged position holds another record": [{"records": [TopicRecord((0, 0), "b", 1.0), *EXACT["records"][1:]]}],
    "receipt of a stored todo says something else": [{"receipts": ["offender"]}],
    "manage.py audit proves less": [{"audit": ["offender"]}],
    "ledger is not at the topic's end": [{"ledger": {0: 3, 1: 1}}, {"ledger": {0: 3}}, {"losses": [(0, 1, 2)]}],
    "gap or overlap in the ledger's moves": [
        {"moves": {0: [Move(0, 1), Move(2, 3)], 1: [Move(0, 3)]}},
        {"moves": {0: [Move(0, 2), Move(1, 3)], 1: [Move(0, 3)]}},
        {"moves": {0: [Move(0, 3), Move(3, 3)], 1: [Move(0, 3)]}},
        {"moves": {0: [Move(0, 3)], 1: [Move(0, 1)]}},
        {"moves": {0: [Move(0, 3), Move(3, 2, is_rewind=True), Move(2, 3)], 1: [Move(0, 3)]}},
    ],
    "hole in the topic": [without("records", EXACT["records"][3])],
    "valid todo refused": [{"refused": ["422 for A"]}],
}


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_notices_what_it_is_there_for(check: str) -> None:
    for change in WRONG[check]:
        assert check in violations(evidence(**change)), change


# --- Kafka came back with an older log, whose third offset then got another record


def replaced(*rows: Row, **changes: Any) -> Evidence:
    """What was there had a record of its own at the last offset of partition 0, acknowledged to its client."""
    rewound = [*EXACT["moves"][0], Move(3, 2, is_rewind=True), Move(2, 3)]
    it = evidence(**{"rows": [*EXACT["rows"], *rows], "moves": {0: rewound, 1: [Move(0, 3)]}} | changes)
    it.journal.accept(Accepted("old", "OLD", 3.0, 0, 2))
    it.journal.replaced.append(TopicRecord((0, 2), "old", 3.0))
    return Evidence(**{name: getattr(it, name) for name in (*EXACT, "journal")})


def test_a_todo_of_a_replaced_log_stays_stored_beside_the_new_record_of_its_position() -> None:
    assert {} == violations(replaced(Row("old", "OLD", (0, 2))))


def test_a_todo_of_a_replaced_log_may_be_a_recorded_loss_and_nothing_else() -> None:
    assert {} == violations(replaced(losses=[(0, 2, 3)]))
    assert {"acknowledged, but lost", "record with no outcome"} == set(violations(replaced()))
    assert "ledger is not at the topic's end" in violations(replaced(losses=[(0, 1, 3)]))


def test_a_third_outcome_of_a_position_with_two_records_is_one_too_many() -> None:
    rows = Row("old", "OLD", (0, 2)), Row("x", "D", (0, 2)), Row("y", "C", (0, 2))

    assert "stored twice" in violations(replaced(*rows))
