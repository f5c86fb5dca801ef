"""What an Idempotency-Key makes of a todo: the same for ever, and never another one's."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from edge_api.contract import TodoFields, fingerprint, id_from_key

OWNERS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
REQUESTS = st.tuples(OWNERS, KEYS, st.none() | st.integers(0, 999))


def test_the_ids_of_yesterday_are_those_of_today() -> None:
    """A change would let a client's retry make a second todo."""
    assert UUID("946fc7c7-6c36-523c-b289-f31dff357578") == id_from_key("", "a")
    assert UUID("4993ceb8-89e4-5504-bf79-075cdb0e70f1") == id_from_key("17", "a", 2)
    assert "06dca47ae62e8618" == fingerprint(TodoFields(title="Do homework", description="Finish pending homeworks"))


@given(REQUESTS, REQUESTS)
def test_other_owners_keys_and_places_have_other_ids(
    one: tuple[str, str, int | None], other: tuple[str, str, int | None]
) -> None:
    assert (one == other) == (id_from_key(*one) == id_from_key(*other))


def test_what_is_stored_alike_has_one_fingerprint() -> None:
    first = fingerprint(TodoFields(title="a", description="b"))
    assert first == fingerprint(TodoFields(title=" a ", description="b"))
    assert fingerprint(TodoFields(title="a")) == fingerprint(TodoFields(title="a", description=""))
    others = [TodoFields(title="ab"), TodoFields(title="a", description="c"), TodoFields(title="a")]
    assert 4 == len({first, *map(fingerprint, others)})
