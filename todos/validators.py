"""A todo's texts as the contract has them, for whoever edits a stored todo: trimmed alike, refused alike."""

from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from edge_api.contract import Description, Title


class InvalidText(ValueError):
    """`str()` of it says why, for people."""


class Text(NamedTuple):
    adapter: TypeAdapter[str]

    def check(self, value: Any) -> str:
        """Raises InvalidText."""
        try:
            return self.adapter.validate_python(value, strict=True)
        except ValidationError as exc:
            message = exc.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
            raise InvalidText(f"{message[0].upper()}{message[1:]}.") from None


TITLE, DESCRIPTION = Text(TypeAdapter(Title)), Text(TypeAdapter(Description))
