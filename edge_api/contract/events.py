"""The event `TodoCreated`, version 1: the value of every record in the topic, as JSON in UTF-8.

Readers ignore fields that they do not know. A new optional field needs no new version, unless losing it does harm; any
other change needs one. A reader accepts every version up to its own. It leaves a newer one in the log for a newer
reader, and neither stores a part of it nor calls it invalid. For that, every version keeps the fields of `Envelope`.
Golden examples: examples/todo-created/.
"""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json, to_json

VERSION = 1  # the newest version that is read, and the one that is written
TITLE_MAX = 255
DESCRIPTION_MAX = 10_000
OWNER_MAX = 255
MAX_BODY_BYTES = 65_536  # of a request: room for 10,000 characters, each escaped as \u and four digits
MAX_BATCH_TODOS, MAX_BATCH_BYTES = 1_000, 1_048_576  # of a request to add many todos
# Wide enough for any honest clock, narrow enough that no time zone can push a value out of range.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


class FieldError(NamedTuple):
    """What is wrong with a field: a dotted path, or "body" when the whole payload is unreadable."""

    field: str
    message: str


class InvalidPayload(ValueError):
    """The payload is not valid; `errors` names each field at fault."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors))


class UnreadablePayload(InvalidPayload):
    """The payload is not JSON in UTF-8."""

    def __init__(self, message: str) -> None:
        super().__init__([FieldError("body", message)])


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain the character U+0000")
    return value


def _not_nil(value: UUID) -> UUID:
    if not value.int:
        raise ValueError("must not be the nil UUID")
    return value


_Storable = AfterValidator(_no_nul)  # PostgreSQL cannot store U+0000 in a text
_NO_NUL_SCHEMA = {"pattern": r"^[^\u0000]*$"}
_WHITE_SPACE = r"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # what strip_whitespace removes
_NOT_BLANK_SCHEMA = {"pattern": rf"^[^\u0000]*[^\u0000{_WHITE_SPACE}][^\u0000]*$"}

Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_MAX),
    _Storable,
    Field(
        description=f"1 to {TITLE_MAX} characters after trimming white space; no U+0000.",
        json_schema_extra=_NOT_BLANK_SCHEMA,
    ),
]
Description = Annotated[
    str,
    StringConstraints(max_length=DESCRIPTION_MAX),
    _Storable,
    Field(description=f"Up to {DESCRIPTION_MAX:,} characters; no U+0000.", json_schema_extra=_NO_NUL_SCHEMA),
]
Owner = Annotated[str, StringConstraints(min_length=1, max_length=OWNER_MAX), _Storable]
TodoId = Annotated[UUID, AfterValidator(_not_nil)]
CreatedAt = Annotated[AwareDatetime, Field(ge=EARLIEST, lt=LATEST)]


class TodoFields(BaseModel):
    """The fields that a client sends of a new todo."""

    model_config = ConfigDict(strict=True)

    title: Title
    description: Description | None = None


class TodoCreated(TodoFields):
    """A todo was accepted.

    The edge sets every field; `owner` is the subject of the client's token. Other producers may send only a title.
    """

    type: Literal["TodoCreated"] = "TodoCreated"
    version: Literal[1] = 1
    id: TodoId | None = None
    owner: Owner | None = None
    created_at: CreatedAt | None = None

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


class Envelope(BaseModel):
    """The fields of every version, by which an old reader tells a newer event from a foreign producer's mistake."""

    model_config = ConfigDict(strict=True)

    type: Literal["TodoCreated"]
    version: int
    id: TodoId
    created_at: CreatedAt


def encode_created(todo: TodoFields, todo_id: str, created_at: str, owner: str = "") -> bytes:
    """Return TodoCreated(...).to_json() of a todo that has been validated, at a tenth of the cost.

    `created_at` is in ISO 8601 and UTC. An empty `owner` means that the todo has none.
    """
    event = b'%b,"type":"TodoCreated","version":1,"id":"%b"%b,"created_at":"%b"}'
    whose = b',"owner":%b' % to_json(owner) if owner else b""
    return event % (to_json(todo, exclude_none=True)[:-1], todo_id.encode(), whose, created_at.encode())


Model = TypeVar("Model", bound=BaseModel)


def newer_version(payload: bytes) -> int | None:
    """Return the version of an event that a newer release wrote, or None for everything else."""
    try:
        version = parse_json(Envelope, payload).version
    except InvalidPayload:
        return None
    return version if version > VERSION else None


def parse_json(model: type[Model], payload: bytes) -> Model:
    """Read JSON bytes as `model`. Raises InvalidPayload or its subclass, and nothing else, for any bytes."""
    try:
        event: Model = model.__pydantic_validator__.validate_json(payload)  # model_validate_json, a quarter faster
    except ValidationError as exc:
        # The fast parser stops at a lone surrogate without naming its field; the standard library's parser does not.
        unreadable = exc.errors(include_url=False)[0]["type"] == "json_invalid"
        raise (_reread(model, payload) if unreadable else InvalidPayload(_field_errors(exc))) from None
    return event


def validate(model: type[Model], value: object) -> Model:
    """Validate `value`, which load_json has read. Raises InvalidPayload."""
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        raise InvalidPayload(_field_errors(exc)) from None


def load_json(payload: bytes) -> Any:
    """Read JSON bytes, but leave lone surrogates for `validate`, which names their field. Raises UnreadablePayload."""
    try:
        return from_json(payload)
    except ValueError:
        pass
    try:
        # No field is a number, and int() takes 70 us for 4,300 digits: a batch has room for hundreds of them.
        return json.loads(payload.decode(), parse_int=float)
    except UnicodeDecodeError:
        raise UnreadablePayload("must be UTF-8") from None
    except (ValueError, RecursionError):
        raise UnreadablePayload("must be valid JSON") from None


def _reread(model: type[BaseModel], payload: bytes) -> InvalidPayload:
    try:
        model.model_validate(json.loads(payload.decode()), strict=False)
    except UnicodeDecodeError:
        return UnreadablePayload("must be UTF-8")
    except ValidationError as exc:
        return InvalidPayload(_field_errors(exc))
    except (ValueError, RecursionError):
        pass
    return UnreadablePayload("must be valid JSON")


_MESSAGES = {"string_unicode": "must not contain lone surrogates", "model_type": "must be an object"}


def _field_errors(exc: ValidationError) -> list[FieldError]:
    return [
        FieldError(
            ".".join(str(part) for part in error["loc"]) or "body",
            _MESSAGES.get(error["type"]) or error["msg"].removeprefix("Value error, "),
        )
        for error in exc.errors(include_url=False, include_input=False)
    ]


def record_key(todo_id: UUID | str) -> bytes:
    """Return the key of a todo's record: its id."""
    return str(todo_id).encode()


def id_from_position(topic: str, partition: int, offset: int) -> UUID:
    """Return the id of a todo whose producer sent none; the same record always gets the same id."""
    return uuid5(NAMESPACE_URL, f"kafka:{topic}/{partition}/{offset}")
