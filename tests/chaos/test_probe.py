"""What is said of a fault is judged: by its code, from the end of its grace until its repair."""

from typing import Any

import pytest

from tests.chaos.journal import Journal
from tests.chaos.probe import ProbeAnswer, ProbeWatcher, codes_said, problem_codes, unsaid_waits, untrue_answers

ROW_HELD = frozenset({"row-held"})


def answer(at: float, *codes: str, is_ok: bool = False, waited: float = 0.0) -> ProbeAnswer:
    return ProbeAnswer(at, at + 1, is_ok, frozenset(codes), waited)


TRUE = [
    answer(0, is_ok=True),  # before the grace is over
    answer(10, "row-held"),
    answer(12, "row-held", "dead-letters-open"),
    answer(19.5, is_ok=True),  # answered after the repair
]


def test_answers_that_name_the_problem_are_true() -> None:
    assert [] == list(untrue_answers(TRUE, ROW_HELD, 10, 20))
    assert ["dead-letters-open", "row-held"] == codes_said(TRUE, 10, 20)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([], "did not answer"),
        ([answer(15, is_ok=True)], "said ok in 1 of 3"),
        ([answer(15, "row-held", is_ok=True)], "said ok in 1 of 3"),
        ([answer(15, "beat-silent")], "named beat-silent in 1 of 3"),
        ([answer(15)], "named nothing in 1 of 3"),
    ],
)
def test_answers_that_say_something_else_are_not(answers: list[ProbeAnswer], reason: str) -> None:
    (text,) = untrue_answers([*TRUE, *answers] if answers else TRUE[:1], ROW_HELD, 10, 20)

    assert reason in text


def test_an_answer_that_may_be_ok_must_name_the_problem_too() -> None:
    answers = [answer(15, is_ok=True), answer(16, "row-held", is_ok=True)]

    (text,) = untrue_answers(answers, ROW_HELD, 10, 20, may_be_ok=True)

    assert "named nothing in 1 of 2" in text


def test_a_todo_may_not_wait_for_long_while_the_probe_says_ok() -> None:
    answers = [answer(1, is_ok=True, waited=5), answer(2, waited=60), *[answer(4, is_ok=True, waited=62)] * 2]
    assert [] == unsaid_waits(answers)  # the answer before named the reason

    (text,) = unsaid_waits([*answers, answer(80, is_ok=True, waited=138)])

    assert "138 s" in text


@pytest.mark.parametrize(
    ("last", "is_clear"),
    [
        (answer(11, is_ok=True), True),
        (answer(11, "dead-letters-open", is_ok=True), True),
        (answer(11, "partition-halted"), True),  # it was before
        (answer(11, "partition-halted", "row-held"), False),
        (answer(11, "partition-halted", "beat-silent"), False),
        (answer(11, "row-held", is_ok=True), False),  # the fault's own
        (answer(11), False),
        (answer(9, is_ok=True), False),  # asked before the repair
    ],
)
def test_the_probe_is_clear_when_it_names_nothing_new(last: ProbeAnswer, is_clear: bool) -> None:
    watcher = ProbeWatcher("http://127.0.0.1:1", Journal())
    before = frozenset({"partition-halted"})
    assert not watcher.is_clear(10, before, ROW_HELD)

    watcher.answers.append(last)

    assert is_clear == watcher.is_clear(10, before, ROW_HELD)


def test_no_answer_is_not_ok_and_names_nothing() -> None:
    watcher = ProbeWatcher("http://127.0.0.1:1", Journal())

    watcher.step()

    (last,) = watcher.answers
    assert (False, frozenset()) == (last.is_ok, last.codes) == (False, watcher.codes())


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ({"status": "ok", "problems": []}, set()),
        (
            {"status": "unavailable", "problems": [{"code": "row-held"}, {"code": "beat-silent"}]},
            ROW_HELD | {"beat-silent"},
        ),
        ({"status": "unavailable"}, set()),
    ],
)
def test_codes_are_read_from_the_problems(body: dict[str, Any], codes: set[str]) -> None:
    assert codes == problem_codes(body)
