"""Typed settings from environment variables, with the variable's name in every error.

Not pydantic-settings: its models read os.environ whenever they are constructed, and cannot read another mapping.
"""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)


class ConfigError(ValueError):
    """Environment variables are missing or invalid: one line for each, which never contains its value."""


def read_env(model: type[Model], prefix: str, environ: Mapping[str, str]) -> Model:
    """Fill `model` from the variables PREFIX + FIELD; unset and empty variables take the field's default.

    Raises ConfigError. Values are left out of the message because some of them are secrets.
    """
    values = {field: environ.get(f"{prefix}{field.upper()}", "") for field in model.model_fields}
    try:
        return model.model_validate({field: value for field, value in values.items() if value.strip()})
    except ValidationError as exc:
        raise ConfigError("\n".join(_explain(prefix, error) for error in exc.errors())) from None


def _explain(prefix: str, error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    return f"{prefix}{str(error['loc'][0]).upper()}: {message}" if error["loc"] else message
