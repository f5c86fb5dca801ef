"""The options of each task, which operators set in its schedule's kwargs or on the command line."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails


class InvalidOptions(ValueError):
    """The kwargs of a task are invalid. The message names each invalid option and says why."""


class Options(BaseModel):
    """The keyword arguments of one task."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def parse(cls, kwargs: dict[str, Any]) -> Self:
        """Validate the kwargs of a task. Raises InvalidOptions."""
        try:
            return cls.model_validate(kwargs)
        except ValidationError as exc:
            raise InvalidOptions("; ".join(_explain(error, cls) for error in exc.errors())) from None


class PollOptions(Options):
    """Options of one poll, which ends when its time budget is spent or no record came for `timeout_ms`."""

    timeout_ms: int = Field(
        10_000,
        ge=100,
        le=60_000,
        title="Long-poll time",
        description="Milliseconds to wait for the next record.",
        json_schema_extra={"cost": "Shorter: an idle poll ends sooner, and no poll reads until the next tick."},
    )
    max_records: int = Field(
        10_000,
        ge=1,
        le=50_000,
        title="Records per batch",
        description="Records stored in one transaction, at most.",
        json_schema_extra={"cost": "More: faster in bulk, but longer transactions and more memory in each worker."},
    )
    time_budget_seconds: int = Field(
        10,
        ge=1,
        le=60,
        title="Time budget",
        description="Seconds until the poll ends, busy or not.",
        json_schema_extra={"cost": "Longer: more polls at a time, each of which occupies a worker process."},
    )
    dead_letter_percent: int = Field(
        50,
        ge=1,
        le=100,
        title="Dead letters allowed",
        description="A partition is halted when more of its last records would be dead letters; 100 never halts it.",
        json_schema_extra={"cost": "Percent of 100 records or more. Lower: a faulty producer halts it sooner."},
    )


class TrimOptions(Options):
    """Options of a trim: how long the batch history is kept."""

    keep_days: int = Field(30, ge=1, le=3650, description="Days until a batch is deleted.")


def _explain(error: ErrorDetails, options: type[Options]) -> str:
    name = str(error["loc"][0]) if error["loc"] else "kwargs"
    if error["type"] == "extra_forbidden":
        return f"{name}: unknown; known are {', '.join(options.model_fields)}"
    return f"{name}: {error['msg'][0].lower()}{error['msg'][1:]}"
