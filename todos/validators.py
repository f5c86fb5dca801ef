"""The contract's rules for the texts of a todo, for the API and the admin, which edit stored todos."""

from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from edge_api.contract import Description, Title


class InvalidText(ValueError):
    """Raised for a text that the contract refuses; `str()` of it tells the user why."""


class TextValidator(NamedTuple):
    """The rules of one field."""

    adapter: TypeAdapter[str]

    def check(self, value: Any) -> str:
        """Return the text as the contract stores it. Raises InvalidText."""
        try:
            return self.adapter.validate_python(value, strict=True)
        except ValidationError as exc:
            message = exc.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
            raise InvalidText(f"{message[0].upper()}{message[1:]}.") from None


TITLE, DESCRIPTION = TextValidator(TypeAdapter(Title)), TextValidator(TypeAdapter(Description))
