"""The ranges of a poll's options, at their edges."""

from typing import Any

import pytest

from todos.ingest.options import InvalidOptions, PollOptions, TrimOptions


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"timeout_ms": 100, "max_records": 1, "time_budget_seconds": 1, "dead_letter_percent": 1},
        {"timeout_ms": 60_000, "max_records": 50_000, "time_budget_seconds": 60, "dead_letter_percent": 100},
    ],
)
def test_values_at_the_limits_are_accepted(kwargs: dict[str, int]) -> None:
    assert PollOptions.parse(kwargs) == PollOptions(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"timeout_ms": 99}, "timeout_ms: input should be greater than or equal to 100"),
        ({"timeout_ms": 60_001}, "timeout_ms: input should be less than or equal to 60000"),
        ({"max_records": 0}, "max_records: input should be greater than or equal to 1"),
        ({"max_records": 50_001}, "max_records: input should be less than or equal to 50000"),
        ({"time_budget_seconds": 0}, "time_budget_seconds: input should be greater than or equal to 1"),
        ({"time_budget_seconds": 61}, "time_budget_seconds: input should be less than or equal to 60"),
        ({"dead_letter_percent": 0}, "dead_letter_percent: input should be greater than or equal to 1"),
        ({"dead_letter_percent": 101}, "dead_letter_percent: input should be less than or equal to 100"),
        ({"max_records": "5"}, "max_records: input should be a valid integer"),
        ({"max_records": True}, "max_records: input should be a valid integer"),
        ({"max_records": None}, "max_records: input should be a valid integer"),
        ({"speed": 1}, "speed: unknown; known are timeout_ms, max_records, time_budget_seconds, dead_letter_percent"),
        ({"speed": 1, "max_records": 0}, "max_records: input should be greater than or equal to 1; speed: unknown"),
        ([], "kwargs: input should be"),
    ],
)
def test_nonsense_is_refused_by_name(kwargs: Any, message: str) -> None:
    with pytest.raises(InvalidOptions) as refused:
        PollOptions.parse(kwargs)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("days", [1, 3650])
def test_the_history_is_kept_for_a_day_to_ten_years(days: int) -> None:
    assert TrimOptions.parse({"keep_days": days}).keep_days == days


@pytest.mark.parametrize("days", [0, 3651, "30", 1.5])
def test_nonsense_of_a_trim_is_refused_by_name(days: Any) -> None:
    with pytest.raises(InvalidOptions, match=r"^keep_days: "):
        TrimOptions.parse({"keep_days": days})
