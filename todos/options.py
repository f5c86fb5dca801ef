"""What an operator may tune of a poll, in the schedule's kwargs or on the command line."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails


class InvalidOptions(ValueError):
    """The kwargs of a poll are not usable; the message names each of them and why."""


class PollOptions(BaseModel):
    """One poll. It ends when its time budget is spent, or when nothing came for `timeout_ms`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    timeout_ms: int = Field(10_000, ge=100, le=60_000, description="Milliseconds to wait for the next record.")
    max_records: int = Field(5_000, ge=1, le=50_000, description="Records stored in one transaction, at most.")
    time_budget_seconds: int = Field(10, ge=1, le=60, description="Seconds until the poll ends, busy or not.")
    dead_letter_percent: int = Field(
        50, ge=1, le=100, description="Stop when more of a batch would become dead letters; 100 never stops."
    )

    @classmethod
    def parse(cls, kwargs: dict[str, Any]) -> Self:
        """Raises InvalidOptions."""
        try:
            return cls.model_validate(kwargs)
        except ValidationError as exc:
            raise InvalidOptions("; ".join(_explain(error) for error in exc.errors())) from None


def _explain(error: ErrorDetails) -> str:
    name = str(error["loc"][0]) if error["loc"] else "kwargs"
    if error["type"] == "extra_forbidden":
        return f"{name}: unknown; known are {', '.join(PollOptions.model_fields)}"
    return f"{name}: {error['msg'][0].lower()}{error['msg'][1:]}"
