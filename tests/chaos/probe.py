"""What probe, page and `pipeline_status` say of the pipeline, and whether it is true."""

import time
from collections.abc import Collection, Iterator, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx

from tests.chaos.journal import Journal
from tests.support.background import Background

ANSWER_SECONDS = 15.0
# A todo that waits for longer must have a reason that the probe gives: no recovery from a fault takes as long.
LONGEST_WAIT = 45.0


class ProbeAnswer(NamedTuple):
    """Times in seconds since 1970; `longest_wait` is the journal's when the probe was asked.

    `is_ok` as for who only looks at the status code: nothing needs an operator, though there may be codes.
    """

    asked_at: float
    answered_at: float
    is_ok: bool
    codes: frozenset[str]
    longest_wait: float = 0.0


class ProbeWatcher(Background):
    """Asks `/readyz/pipeline` again and again. No answer, or one that is no JSON, is not ok and names no problem."""

    every_seconds = 1.0

    def __init__(self, web_url: str, journal: Journal) -> None:
        super().__init__()
        self.journal = journal
        self.answers: list[ProbeAnswer] = []
        self._client = httpx.Client(base_url=web_url, timeout=ANSWER_SECONDS)

    def run(self) -> None:
        with self._client:
            super().run()

    def step(self) -> None:
        asked_at, longest_wait = time.time(), self.journal.longest_wait()
        try:
            response = self._client.get("/readyz/pipeline")
            body = response.json()
        except (httpx.TransportError, ValueError):
            is_ok, codes = False, frozenset[str]()
        else:
            is_ok, codes = response.status_code == HTTPStatus.OK, problem_codes(body)
        self.answers.append(ProbeAnswer(asked_at, time.time(), is_ok, codes, longest_wait))

    def codes(self) -> frozenset[str]:
        """The codes of the last answer."""
        return self.answers[-1].codes if self.answers else frozenset()

    def is_clear(self, since: float, before: frozenset[str], codes: frozenset[str]) -> bool:
        """Whether the last answer was asked for after `since`, is ok, and names none of the codes.

        Problems that were there `before` may still be.
        """
        last = self.answers[-1] if self.answers else None
        if last is None or last.asked_at <= since:
            return False
        new = last.codes - before
        return not new & codes if last.is_ok else bool(last.codes) and not new


def problem_codes(body: dict[str, Any], key: str = "problems") -> frozenset[str]:
    return frozenset(problem["code"] for problem in body.get(key, []))


def codes_said(answers: Sequence[ProbeAnswer], since: float, until: float) -> list[str]:
    """All that the probe named in the answers to what was asked in between."""
    return sorted({code for answer in answers if since <= answer.asked_at <= until for code in answer.codes})


def untrue_answers(
    answers: Sequence[ProbeAnswer], codes: frozenset[str], since: float, until: float, *, may_be_ok: bool = False
) -> Iterator[str]:
    """What is wrong with the answers that were asked for after `since` and given before `until`.

    Each must name one of the codes, and not be ok, unless it may be.
    """
    window = [answer for answer in answers if since <= answer.asked_at and answer.answered_at <= until]
    if not window:
        yield f"the probe did not answer for {until - since:.0f} s"
    if ok := [answer for answer in window if answer.is_ok and not may_be_ok]:
        seconds = ok[0].asked_at - since
        yield f"the probe said ok in {len(ok)} of {len(window)} answers, first after {seconds:.0f} s"
    if others := [answer for answer in window if answer not in ok and not answer.codes & codes]:
        yield f"the probe named {_names(others[0].codes)} in {len(others)} of {len(window)} answers"


def unsaid_waits(answers: Sequence[ProbeAnswer]) -> list[str]:
    """The answers that said ok while a todo had been waiting for too long, whatever the fault.

    What was not ok until just now explains a wait: the todo may be stored at this very moment.
    """
    unsaid, explained_at = [], float("-inf")
    for answer in answers:
        if not answer.is_ok:
            explained_at = answer.answered_at
        elif answer.longest_wait > LONGEST_WAIT < answer.asked_at - explained_at:
            unsaid.append(f"a todo had waited for {answer.longest_wait:.0f} s at {answer.asked_at:.0f}")
    return unsaid


def _names(codes: Collection[str]) -> str:
    return ", ".join(sorted(codes)) or "nothing"
