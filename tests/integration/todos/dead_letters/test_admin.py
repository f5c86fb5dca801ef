"""An operator repairs dead letters in the admin, as a browser would send it."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.support.dead_letters import HISTORY, LIST, Poison, act, history, make_letter, messages_in, page_of, save
from tests.support.manage import nowhere
from tests.support.topic import Topic, records_in
from todos.admin import dead_letter_actions
from todos.dead_letters import service as dead_letters
from todos.dead_letters.bulk_edit import FieldEdit, edit_field
from todos.models import DeadLetter, Todo

pytestmark = pytest.mark.django_db(transaction=True)
GOOD = '{"title": "Do homework"}'


def test_poison_is_edited_and_redriven_and_becomes_a_todo(admin: Client, topic: Topic, poison: Poison) -> None:
    letters = [poison(), poison(partition=1)]
    for letter in letters:
        assert save(admin, letter, GOOD).redirect_chain
    assert messages_in(act(admin, "revalidate", *letters)) == ["2 ready to be redriven."]
    assert messages_in(act(admin, "redrive", *letters)) == ["2 redriven."]

    assert topic.poll().stored == 2
    assert [history(letter) for letter in letters] == [[("edited", "admin"), ("redriven", "admin")]] * 2
    page = admin.get(page_of(letters[0])).content.decode()
    assert f"/admin/todos/todo/{DeadLetter.objects.get(pk=letters[0].pk).todo_id}/change/" in page
    assert "sent to" in page


def test_a_second_click_is_told_who_was_quicker(admin: Client, topic: Topic, poison: Poison) -> None:
    letter = poison()
    save(admin, letter, GOOD)
    act(admin, "redrive", letter)
    before = records_in(topic)

    (message,) = messages_in(act(admin, "redrive", letter))

    assert message.startswith(f"{letter}: is redriven, by admin at ")
    assert records_in(topic) == before


def test_kafka_away_is_one_clear_message(admin: Client, settings: Any, topic: Topic, poison: Poison) -> None:
    bad, good = poison(), poison()
    save(admin, good, GOOD)
    settings.KAFKA = nowhere(topic.kafka)

    unavailable, invalid = messages_in(act(admin, "redrive", bad, good))

    assert unavailable.startswith("1 of 2 unchanged. Kafka at 127.0.0.1:9 did not acknowledge: ")
    assert invalid == f"{bad}: not valid: title: String should have at least 1 character"
    assert set(DeadLetter.objects.values_list("status", flat=True)) == {"open"}


def test_an_invalid_edit_is_shown_with_its_errors_and_not_kept(admin: Client) -> None:
    letter = make_letter()
    response = save(admin, letter, '{"title": "", "version": 2}')

    assert response.context["adminform"].form.errors == {
        "payload": ["title: String should have at least 1 character", "version: Input should be 1"]
    }
    assert "{&quot;title&quot;: &quot;&quot;, &quot;version&quot;: 2}" in response.content.decode()
    assert (DeadLetter.objects.get().edited_value, history(letter)) == (None, [])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b'{\r\n "title": ""}', '{\n "title": ""}'),
        (b'{"title": "\xc2\xad\xe2\x80\xae\x00"}', '{"title": "\\u00ad\\u202e\\u0000"}'),
        (b"\xff\xfe", "\\xff\\xfe"),
        (None, ""),
        (b"x" * 300_000, ""),
    ],
)
def test_saving_what_the_form_shows_is_no_edit(admin: Client, value: bytes | None, shown: str) -> None:
    letter = make_letter(value=value)
    form = admin.get(page_of(letter)).context["adminform"].form
    assert form["payload"].value() == shown

    assert save(admin, letter, shown.replace("\n", "\r\n")).redirect_chain
    assert history(letter) == []


def test_an_edit_that_comes_too_late_is_not_saved(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    letter = make_letter()
    edit = dead_letters.edit

    def after_another_operator(*args: Any, **kwargs: Any) -> None:
        DeadLetter.objects.update(status="discarded", changed_by="ivan")
        edit(*args, **kwargs)

    monkeypatch.setattr(dead_letters, "edit", after_another_operator)
    response = save(admin, letter, GOOD)

    assert messages_in(response) == [f"Not saved. {letter}: is discarded"]
    assert history(letter) == []


def test_discard_asks_for_a_reason_on_a_page_of_its_own(admin: Client) -> None:
    letters = [make_letter(1, detail="<b>bad</b>"), make_letter(2)]
    page = act(admin, "discard", *letters)
    assert "&lt;b&gt;bad" in page.content.decode()
    assert "A reason is required." not in page.content.decode()
    assert "A reason is required." in act(admin, "discard", *letters, because="  ").content.decode()
    assert set(DeadLetter.objects.values_list("status", flat=True)) == {"open"}

    assert messages_in(act(admin, "discard", *letters, because="test data")) == ["2 discarded."]
    assert [history(letter) for letter in letters] == [[("discarded", "admin")]] * 2
    assert messages_in(act(admin, "reopen", *letters)) == ["2 reopened."]
    assert set(DeadLetter.objects.values_list("status", flat=True)) == {"open"}


def test_what_is_over_is_shown_but_not_edited(admin: Client) -> None:
    letter = make_letter()
    act(admin, "discard", letter, because="test data")
    page = admin.get(page_of(letter)).content.decode()

    assert "<textarea" not in page
    assert 'value="reopen"' in page
    assert 'value="redrive"' not in page
    assert admin.post(page_of(letter), {"payload": GOOD} | HISTORY).status_code == 403


def test_too_many_at_once_are_refused_before_any(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter_actions, "MAX_SELECTED", 2)
    letters = [make_letter(offset) for offset in range(3)]
    for action in ("redrive", "discard", "reopen", "revalidate"):
        (message,) = messages_in(act(admin, action, *letters))
        assert message == "Select at most 2 here. manage.py dead_letters takes any number."


def test_select_all_discards_only_what_was_shown(admin: Client) -> None:
    make_letter(1)
    page = act(admin, "discard", make_letter(2), select_across="1")
    assert [letter.offset for letter in page.context["letters"]] == [2, 1]
    assert page.content.decode().count('name="_selected_action"') == 2
    assert "select_across" not in page.content.decode()


@pytest.mark.parametrize(
    ("permission", "page", "actions"),
    [
        ("view", 200, {"revalidate"}),
        ("change", 200, {"redrive", "edit_field", "discard", "reopen", "revalidate"}),
        ("delete", 403, set()),
    ],
)
def test_each_permission_opens_what_it_says(client: Client, permission: str, page: int, actions: set[str]) -> None:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename=f"{permission}_deadletter"))
    client.force_login(user)
    letter = make_letter()

    response = client.get(LIST)
    assert response.status_code == page
    if page == 200:
        offered = dict(response.context["action_form"].fields["action"].choices)
        assert set(offered) - {""} == actions
        assert ("<textarea" in client.get(page_of(letter)).content.decode()) == (permission == "change")
        assert "history" in client.get(page_of(letter)).content.decode().lower()
    act(client, "discard", letter, because="not mine to say")
    assert (DeadLetter.objects.get().status == "discarded") == (permission == "change")


def test_nobody_deletes_a_dead_letter_or_its_history(admin: Client) -> None:
    letter = make_letter()
    act(admin, "discard", letter, because="test data")
    assert admin.post(f"{LIST}{letter.pk}/delete/", {"post": "yes"}).status_code == 403
    act(admin, "delete_selected", letter, post="yes")
    event = letter.events.get()
    forged = {"events-TOTAL_FORMS": "1", "events-INITIAL_FORMS": "1", "events-0-id": str(event.pk)}
    act(admin, "reopen", letter)
    admin.post(page_of(letter), {"payload": GOOD, "events-0-DELETE": "on", "events-0-note": "forged"} | forged)

    assert history(letter) == [("discarded", "admin"), ("reopened", "admin"), ("edited", "admin")]
    assert letter.events.get(pk=event.pk).note == "test data"
    assert not Todo.objects.exists()


def test_a_field_of_many_is_set_and_only_what_is_valid_then_is_kept(admin: Client) -> None:
    values = [b'{"title": ""}', b'{"title": "good"}', b"not JSON", b'{"title": "", "id": "wrong"}', b"[]"]
    letters = [make_letter(offset, value=value) for offset, value in enumerate(values)]
    letters.append(make_letter(9, status="discarded", changed_by="x"))
    assert b'name="path"' in act(admin, "edit_field", *letters).content

    messages = messages_in(act(admin, "edit_field", *letters, path="title", value='"Do homework ✓"'))

    assert ("2 edited.", "Ready to be redriven: 1 of 6 before, 2 after.") == (messages[0], messages[-1])
    refused = [any(f"t/0/{offset}: " in line for line in messages) for offset in (0, 1, 2, 3, 4, 9)]
    assert [False, False, True, True, True, True] == refused
    kept = [DeadLetter.objects.get(pk=letter.pk).edited_value for letter in letters]
    assert [True, True, False, False, False, False] == [value is not None for value in kept]
    assert {"title": "Do homework ✓"} == json.loads(bytes(kept[0] or b""))
    assert [("edited", "admin")] == history(letters[0])


def test_a_field_that_lies_in_another_is_set() -> None:
    letter = make_letter(value=b'{"title": "a", "meta": {"source": "x"}}')
    edit_field(letter.pk, FieldEdit("meta.source", "7"), by="me")
    assert {"title": "a", "meta": {"source": 7}} == json.loads(bytes(DeadLetter.objects.get().edited_value or b""))


@pytest.mark.parametrize(("path", "value", "why"), [("a..b", "1", "Field"), ("title", "no quotes", "must be JSON")])
def test_a_change_that_makes_no_sense_is_asked_for_again(admin: Client, path: str, value: str, why: str) -> None:
    page = act(admin, "edit_field", make_letter(), path=path, value=value).content.decode()
    assert why in page
    assert f'value="{path}"' in page
    assert DeadLetter.objects.get().edited_value is None
