"""Open, edited, discarded, reopened: what is allowed when, and who did it."""

from collections.abc import Callable

import pytest
from django.db import connection

from edge_api.contract import InvalidPayload
from tests.support.dead_letters import at_once, history
from todos.dead_letters import service as dead_letters
from todos.dead_letters.service import ActionRefused
from todos.models import DeadLetter

pytestmark = pytest.mark.django_db(transaction=True)
GOOD = b'{"title": "Do homework"}'


@pytest.fixture
def letter() -> DeadLetter:
    return DeadLetter.objects.create(topic="t", partition=0, offset=1, reason="invalid", detail="d", value=b"\xff")


def test_an_edit_is_kept_beside_the_original(letter: DeadLetter) -> None:
    dead_letters.edit(letter.pk, b'{"title": "first"}', by="olga")
    dead_letters.edit(letter.pk, GOOD, by="ivan")
    letter.refresh_from_db()

    assert (bytes(letter.value or b""), bytes(letter.edited_value or b"")) == (b"\xff", GOOD)
    assert (letter.status, letter.changed_by) == ("open", "ivan")
    assert letter.changed_at is not None
    assert history(letter) == [("edited", "olga"), ("edited", "ivan")]


@pytest.mark.parametrize("payload", [b"", b"\xff", b'{"title": "\\u0000"}', b"[" * 100_000, b'{"title": "x", "id": 3}'])
def test_an_invalid_edit_is_not_kept(letter: DeadLetter, payload: bytes) -> None:
    with pytest.raises(InvalidPayload):
        dead_letters.edit(letter.pk, payload, by="olga")
    letter.refresh_from_db()
    assert (letter.edited_value, letter.changed_by, history(letter)) == (None, "", [])


def test_a_discard_needs_a_reason_which_is_kept(letter: DeadLetter) -> None:
    with pytest.raises(ActionRefused, match="t/0/1: say why it is discarded"):
        dead_letters.discard(letter.pk, because=" \n", by="olga")
    dead_letters.discard(letter.pk, because=" test data ", by="olga")
    letter.refresh_from_db()

    assert letter.status == "discarded"
    assert letter.events.values_list("action", "actor", "note").get() == ("discarded", "olga", "test data")


def test_what_is_discarded_is_left_alone_until_it_is_reopened(letter: DeadLetter) -> None:
    dead_letters.discard(letter.pk, because="test data", by="olga")
    actions: list[Callable[[], None]] = [
        lambda: dead_letters.edit(letter.pk, GOOD, by="ivan"),
        lambda: dead_letters.discard(letter.pk, because="again", by="ivan"),
        lambda: dead_letters.check_redrive(letter.pk),
        lambda: dead_letters.check_discard(letter.pk),
    ]
    refusal = r"^t/0/1: is discarded, by olga at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$"
    for action in actions:
        with pytest.raises(ActionRefused, match=refusal):
            action()

    dead_letters.reopen(letter.pk, by="ivan")
    dead_letters.edit(letter.pk, GOOD, by="ivan")
    dead_letters.check_redrive(letter.pk)
    assert history(letter) == [("discarded", "olga"), ("reopened", "ivan"), ("edited", "ivan")]


def test_what_is_open_cannot_be_reopened(letter: DeadLetter) -> None:
    with pytest.raises(ActionRefused, match=r"^t/0/1: is open$"):
        dead_letters.reopen(letter.pk, by="olga")


def test_a_letter_that_is_not_there_is_named() -> None:
    with pytest.raises(ActionRefused, match=r"^there is no dead letter 4711$"):
        dead_letters.check_redrive(4711)


def test_of_two_operators_at_the_same_moment_one_is_told(letter: DeadLetter) -> None:
    raised = at_once(
        lambda: dead_letters.discard(letter.pk, because="one", by="olga"),
        lambda: dead_letters.discard(letter.pk, because="two", by="ivan"),
    )
    assert sorted(type(exc).__name__ for exc in raised) == ["ActionRefused", "NoneType"]
    assert len(history(letter)) == 1


def test_a_worker_of_the_version_before_can_go_on_storing_dead_letters() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO todos_deadletter (topic, partition, "offset", reason, detail, headers)'
            " VALUES ('t', 0, 1, 'invalid', 'd', '[]')"
        )
    letter = DeadLetter.objects.get()
    assert (letter.status, letter.replays, letter.changed_by, letter.edited_value) == ("open", 0, "", None)
