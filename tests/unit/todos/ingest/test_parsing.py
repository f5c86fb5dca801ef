"""The consumer's side of the contract: the golden examples, as records."""

from pathlib import Path
from typing import NamedTuple

import pytest

from edge_api import contract
from todos.bounds import LATEST_MS
from todos.ingest.parsing import parse_records

EXAMPLES = Path(contract.__file__).parent / "examples/todo-created/v1"


class Example(NamedTuple):
    value: bytes | None
    partition: int = 3
    offset: int = 7
    timestamp: int = 1_700_000_000_000
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    leader_epoch: int = -1


def files(kind: str) -> list[Path]:
    found = sorted((EXAMPLES / kind).iterdir())
    assert found
    return found


@pytest.mark.parametrize("path", files("valid"), ids=lambda path: path.stem)
def test_a_valid_example_becomes_a_todo(path: Path) -> None:
    batch = parse_records("topic", [Example(path.read_bytes())])

    assert batch.dead_letters == []
    (todo,) = batch.todos
    assert 1 <= len(todo.title) <= contract.TITLE_MAX
    assert todo.title == todo.title.strip()
    assert len(todo.description) <= contract.DESCRIPTION_MAX
    assert todo.created_at.utcoffset() is not None
    assert (todo.source_partition, todo.source_offset) == (3, 7)


@pytest.mark.parametrize("path", files("invalid"), ids=lambda path: path.stem)
def test_an_invalid_example_becomes_a_dead_letter_that_names_the_field(path: Path) -> None:
    batch = parse_records("topic", [Example(path.read_bytes())])

    assert batch.todos == []
    (letter,) = batch.dead_letters
    assert letter.detail.startswith(f"{path.name.split('--')[0]}: ")
    assert letter.value == (path.read_bytes() or b"")


@pytest.mark.parametrize("value", [None, b""])
def test_a_record_without_a_value_says_so(value: bytes | None) -> None:
    (letter,) = parse_records("topic", [Example(value)]).dead_letters
    assert (letter.reason, letter.detail) == ("empty", "body: no value")


@pytest.mark.parametrize("timestamp", [-1, -(2**63), LATEST_MS, 2**63 - 1])
def test_a_nonsense_timestamp_does_no_harm(timestamp: int) -> None:
    (todo,) = parse_records("topic", [Example(b'{"title": "x"}', timestamp=timestamp)]).todos
    assert 2026 <= todo.created_at.year < 9999


def test_the_last_sensible_timestamp_is_kept() -> None:
    (todo,) = parse_records("topic", [Example(b'{"title": "x"}', timestamp=LATEST_MS - 1)]).todos
    assert todo.created_at.year == 9998


def test_ids_from_positions_differ_by_each_part() -> None:
    ids = {
        todo.id
        for topic in ("a", "b")
        for partition in (0, 1)
        for offset in (0, 1)
        for todo in parse_records(topic, [Example(b'{"title": "x"}', partition, offset)]).todos
    }
    assert len(ids) == 8
