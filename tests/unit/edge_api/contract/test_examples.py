"""The golden examples, read with the contract's own model. The consumer's tests read the same files."""

from pathlib import Path

import pytest

import edge_api.contract
from edge_api.contract import InvalidPayload, TodoCreated, newer_version, parse_json

EXAMPLES = Path(edge_api.contract.__file__).parent / "examples" / "todo-created"
VALID = sorted((EXAMPLES / "v1" / "valid").iterdir())
INVALID = sorted((EXAMPLES / "v1" / "invalid").iterdir())
NEWER = sorted((EXAMPLES / "newer").iterdir())


def test_there_are_examples() -> None:
    assert len(VALID) >= 20
    assert len(INVALID) >= 60


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_example_survives_a_round_trip(path: Path) -> None:
    todo = parse_json(TodoCreated, path.read_bytes())
    assert todo == parse_json(TodoCreated, todo.to_json())
    assert todo.title.strip() == todo.title != ""


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_example_names_its_field(path: Path) -> None:
    """The file's name is FIELD--WHAT-IS-WRONG.json."""
    with pytest.raises(InvalidPayload) as caught:
        parse_json(TodoCreated, path.read_bytes())
    assert [path.name.split("--")[0]] == [error.field for error in caught.value.errors]


def test_every_field_of_the_event_has_an_invalid_example() -> None:
    assert {"body", *TodoCreated.model_fields} == {path.name.split("--")[0] for path in INVALID}


def test_only_what_a_newer_release_writes_is_newer() -> None:
    assert [2, 3] == [newer_version(path.read_bytes()) for path in NEWER]
    assert {None} == {newer_version(path.read_bytes()) for path in VALID + INVALID}
