"""Erasing an owner deletes all their data, stores none of it again from Kafka, and affects no other owner."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import Error as DatabaseFailure
from django.db import OperationalError
from django.db.models import Count
from django.test import Client
from django.utils import timezone

from tests.support.chains import chain
from tests.support.manage import run
from tests.support.memory_topic import MemoryTopic
from tests.support.sessions import open_transaction, waiting_sessions
from tests.support.threads import in_thread
from tests.support.todos import constraint
from tests.support.topic import MakeTopic, Topic, event
from tests.support.waiting import eventually
from todos import tasks
from todos.bounds import LONGEST_TOKEN_DAYS
from todos.dead_letters import service as dead_letters
from todos.event_log import Log, Retention
from todos.ingest import store
from todos.kafka.consumer import close_process_log
from todos.ledger.batch_history import broken_chains, record_batches
from todos.models import DeadLetter, ErasedOwner, Owner, PartitionLedger, PollRun, Todo
from todos.operations import erasure
from todos.operations.erasure import Erased, ErasureRefused, Subject, count, erase, finish_interrupted
from todos.operations.remnants import forget_expired
from todos.operations.rewind import rewind
from todos.owners import erasure_id, owner_of
from todos.tasks import trim_batches
from todos.tokens import issue, keys
from todos.tokens.issue import TokenPair, sign_in

pytestmark = pytest.mark.django_db(transaction=True)
MakeMemoryTopic = Callable[..., MemoryTopic]


@pytest.fixture
def olga() -> User:
    return User.objects.create_user("olga")


@pytest.fixture
def ivan() -> User:
    return User.objects.create_user("ivan")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several transactions for a handful of rows."""
    for name in ("CHUNK_TODOS", "CHUNK_LETTERS", "CHUNK_ENTRIES"):
        monkeypatch.setattr(erasure, name, 2)


def send(topic: Topic, user: User, number: int = 5, **fields: Any) -> list[str]:
    """Send todos, one that is not valid, and one that the database refuses below; return the ids of the todos."""
    ids, owner = [str(uuid4()) for _ in range(number)], owner_of(user)
    topic.send(*(event(id=id_, title=f"of {user}", owner=owner) for id_ in ids))
    topic.send(event(title="", description=f"of {user}", owner=owner), key=b"k", headers=[("h", f"{user}".encode())])
    topic.send(event(title="refused", description=f"of {user}", owner=owner))
    return ids


def poll(topic: Topic) -> Any:
    with constraint("title <> 'refused'"):
        return topic.poll()


def titles() -> list[str]:
    return sorted({*Todo.objects.values_list("title", flat=True)})


def add_todo(owner: str, title: str) -> Todo:
    return Todo.objects.create(
        id=uuid4(), title=title, created_at=timezone.now(), source_partition=0, source_offset=Todo.objects.count(),
        owner=owner,
    )  # fmt: skip


def logged(user: User, todo_id: str, text: str) -> LogEntry:
    """An entry of the admin's log that quotes a todo."""
    todos = ContentType.objects.get_for_model(Todo)
    return LogEntry.objects.create(
        user=user, content_type=todos, object_id=todo_id, object_repr=text, action_flag=CHANGE, change_message=text
    )


def everything() -> str:
    """All text and bytes of the tables that hold what clients send, and of the log about it."""
    letters = [
        [bytes(part or b"") for part in (letter.key, letter.value, letter.edited_value)]
        + [letter.detail, letter.headers, [event.note for event in letter.events.all()]]
        for letter in DeadLetter.objects.all()
    ]
    rows = [list(model.objects.values_list()) for model in (Todo, LogEntry, PollRun)]
    return repr([rows, letters])


# --- What goes, and what stays


def test_everything_of_one_owner_goes_and_nothing_of_another(
    make_memory_topic: MakeMemoryTopic, olga: User, ivan: User
) -> None:
    keys.make_first()
    topic, admin = make_memory_topic(), User.objects.create_superuser("admin")
    of_olga, of_ivan = send(topic, olga), send(topic, ivan)
    poll(topic)
    edited = DeadLetter.objects.get(reason="invalid", offset=5)
    dead_letters.edit(edited.pk, event(title="of olga, repaired"), by="admin")
    dead_letters.discard(edited.pk, because="of olga: spam", by="admin")
    for todo_id, text in ((of_olga[0], "of olga"), (of_olga[1], "of olga"), (of_ivan[0], "of ivan")):
        logged(admin, todo_id, text)
    for user in (olga, ivan):
        sign_in(user, ["read"])
    subject, before = Subject.of_user(olga), everything()

    counted = count(subject)
    assert before == everything()
    assert Erased(todos=5, dead_letters=2, log_entries=2, refresh_tokens=1) == counted
    assert counted == erase(subject)

    assert "olga" not in everything()
    assert {"of ivan": 5} == dict(Todo.objects.values_list("title").annotate(Count("id")))
    assert [(5, "erased"), (6, "erased"), (12, "open"), (13, "open")] == [
        *DeadLetter.objects.order_by("offset").values_list("offset", "status")
    ]
    assert ["edited", "discarded", "erased"] == [*edited.events.values_list("action", flat=True)]
    assert {"erased", "of ivan"} == set(LogEntry.objects.values_list("object_repr", flat=True))
    assert (0, 1) == (olga.refresh_tokens.count(), ivan.refresh_tokens.count())
    assert Erased() == count(subject)
    for act in (dead_letters.reopen, dead_letters.discard):
        with pytest.raises(dead_letters.ActionRefused, match="is erased"):
            act(edited.pk, by="admin", **({"because": "x"} if act is dead_letters.discard else {}))


def test_the_log_about_todos_that_are_gone_is_emptied_because_it_names_no_owner(olga: User) -> None:
    entry = logged(olga, str(uuid4()), "of a todo that its owner deleted")
    assert 1 == count(Subject.of_user(olga)).log_entries
    erase(Subject.of_user(olga))
    entry.refresh_from_db()
    assert ("erased", "") == (entry.object_repr, entry.change_message)


def test_a_user_is_deleted_with_every_session_and_what_the_log_says_of_them(olga: User, ivan: User) -> None:
    users = ContentType.objects.get_for_model(User)
    LogEntry.objects.create(
        user=ivan, content_type=users, object_id=str(olga.pk), object_repr="olga", action_flag=CHANGE
    )
    for user in (olga, olga, ivan):
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session.save()
    subject = Subject.of_user(olga)

    counted = count(subject, deletes_user=True)
    assert Erased(log_entries=1, sessions=2, users=1) == counted
    assert counted == erase(subject, deletes_user=True)

    assert [ivan] == [*User.objects.all()]
    assert 1 == Session.objects.count()
    assert "olga" not in everything()
    remembered = ErasedOwner.objects.get()
    assert remembered.deletes_user
    assert remembered.user is None


def test_a_superuser_is_not_deleted(admin_user: User) -> None:
    with pytest.raises(ErasureRefused, match="superuser"):
        erase(Subject.of_user(admin_user), deletes_user=True)
    assert not ErasedOwner.objects.exists()


def test_bytes_that_are_not_json_are_searched_for_the_owner(olga: User, ivan: User) -> None:
    for offset, user in enumerate((olga, ivan)):
        value = b'\x00{"title": "of %s", "owner": "%s"' % (str(user).encode(), owner_of(user).encode())
        DeadLetter.objects.create(topic="t", partition=0, offset=offset, reason="undecodable", detail="d", value=value)
    erase(Subject.of_user(olga))
    assert ["erased", "open"] == [*DeadLetter.objects.order_by("offset").values_list("status", flat=True)]


@pytest.mark.parametrize("form", ['[{"owner": "%s"}]', '{"event": {"owner": "%s"}}', '"{\\"owner\\": \\"%s\\"}"'])
def test_json_without_an_owner_at_the_top_is_searched_for_the_owner(form: str, olga: User, ivan: User) -> None:
    for offset, user in enumerate((olga, ivan)):
        value = (form % owner_of(user)).encode()
        DeadLetter.objects.create(topic="t", partition=0, offset=offset, reason="invalid", detail="d", value=value)
    erase(Subject.of_user(olga))
    assert ["erased", "open"] == [*DeadLetter.objects.order_by("offset").values_list("status", flat=True)]


@pytest.mark.parametrize("spelling", ["{%s}", "urn:uuid:%s", "upper", "hex"])
def test_another_spelling_of_an_owner_is_another_owner(spelling: str, olga: User) -> None:
    owner = owner_of(olga)
    other = {"upper": owner.upper(), "hex": UUID(owner).hex}.get(spelling) or spelling % owner
    add_todo(owner, "of olga")
    add_todo(other, "of a foreign producer")
    assert 1 == erase(Subject.of_owner(other)).todos
    assert ["of olga"] == titles()
    assert owner == owner_of(User.objects.get())


# --- What Kafka still holds


def test_what_kafka_holds_is_never_stored_again_and_accounted_for(
    make_topic: MakeTopic, olga: User, ivan: User, settings: Any
) -> None:
    topic = make_topic()
    settings.KAFKA = topic.kafka
    send(topic, olga)
    send(topic, ivan)
    poll(topic)
    owner = owner_of(olga)
    erase(Subject.of_user(olga))
    topic.send(event(title="sent with an old token", owner=owner), event(title=None, owner=owner))
    topic.send(event(title="of olga, back again", owner=owner_of(User.objects.get(pk=olga.pk))))

    later = poll(topic)
    assert (1, 0, 0, 2) == (later.stored, later.duplicates, later.dead_letters, later.erased)
    assert 0 == run("audit").code

    rewind(topic.kafka.topic, 0, 0)
    again = poll(topic)
    assert (0, 6, 2, 9) == (again.stored, again.duplicates, again.dead_letters, again.erased)
    assert ["of ivan", "of olga, back again"] == titles()
    assert 'of olga"' not in everything()
    assert (9, 9) == (PollRun.objects.latest("pk").erased, PartitionLedger.objects.get().erased_total - 2)
    assert_whole_from_generation(topic, 1)

    done = run("audit", "--json")
    (audited,) = json.loads(done.out)["partitions"]
    assert (0, [], []) == (done.code, audited["problems"], audited["offenders"])
    assert {"stored": 6, "dead_letter": 2, "erased": 9} == {kind: n for kind, n in audited["counts"].items() if n}


def assert_whole_from_generation(topic: Topic, generation: int) -> None:
    ends = [end for _, end in chain(topic.kafka.topic, generation=generation)]
    assert sorted(ends) == ends
    assert topic.ends()[0] == ends[-1]
    assert not broken_chains(topic.kafka.topic).exists()


def test_the_audit_finds_what_survived(topic: Topic, olga: User) -> None:
    send(topic, olga, 2)
    poll(topic)
    ErasedOwner.objects.create(id=owner_of(olga))
    done = run("audit", "--json")
    found = [offender for part in json.loads(done.out)["partitions"] for offender in part["offenders"]]
    assert (1, {"unerased"}, 4) == (done.code, {offender["kind"] for offender in found}, len(found))
    erase(Subject.of_owner(owner_of(olga)))
    assert 0 == run("audit").code


def test_another_owners_deleted_todo_is_still_proved_beside_erased_ones(topic: Topic, olga: User, ivan: User) -> None:
    send(topic, olga)
    ids = send(topic, ivan)
    poll(topic)
    erase(Subject.of_user(olga))
    Todo.objects.filter(id=ids[0]).delete()
    assert (1, 0) == (run("audit").code, run("audit", "--accept-deleted").code)
    rewind(topic.kafka.topic, 0, 0)
    poll(topic)
    Todo.objects.filter(id=ids[1]).delete()
    assert (1, 0) == (run("audit").code, run("audit", "--accept-deleted").code)


def test_set_aside_makes_no_dead_letter_of_a_record_of_an_erased_owner(topic: Topic, olga: User) -> None:
    owner = owner_of(olga)
    erase(Subject.of_user(olga))
    newer = {"type": "TodoCreated", "version": 2, "id": str(uuid4())}
    topic.send(event(owner=owner, **newer), event(owner=owner), event(title="of another"))
    topic.poll()
    for options in (["--dry-run"], []):
        assert "1 todos are stored, 0 were" in (done := run("set_aside", "--partition", 0, *options)).out, done
        assert "0 records become dead letters, 2 are of erased owners" in done.out
    assert (["of another"], 0) == (titles(), DeadLetter.objects.count())


def test_the_records_of_before_0016_which_name_a_primary_key_are_skipped_too(
    make_memory_topic: MakeMemoryTopic, olga: User
) -> None:
    Owner.objects.filter(user=olga).update(former=7)
    erase(Subject.of_user(User.objects.get(pk=olga.pk)))
    topic = make_memory_topic()
    topic.send(event(owner="7"), event(owner="8"))
    assert (1, 1) == (poll(topic).stored, PollRun.objects.get().erased)


def test_an_owner_without_a_user_is_remembered_by_a_hash(make_memory_topic: MakeMemoryTopic) -> None:
    text = "olga@example.com \u5c71"
    topic = make_memory_topic()
    topic.send(event(title="hers", owner=text), event(title="", owner=text), event(title="other", owner="elsewhere"))
    topic.poll()
    assert (1, 1) == (count(Subject.of_owner(text)).todos, erase(Subject.of_owner(text)).dead_letters)
    (remembered,) = ErasedOwner.objects.values_list("id", flat=True)
    assert remembered.version == 5
    rewind(topic.kafka.topic, 0, 0)
    assert (2, 1) == (topic.poll().erased, Todo.objects.count())

    ErasedOwner.objects.all().delete()  # as by a restore of an older dump
    Todo.objects.update(owner=text)
    assert 1 == erase(Subject.of_owner(str(remembered))).todos
    assert not Todo.objects.exists()


def test_no_owner_at_all_is_no_owner() -> None:
    with pytest.raises(ErasureRefused, match="name an owner"):
        Subject.of_owner("")


# --- While batches are being stored


def test_a_batch_that_is_being_stored_does_not_survive(
    make_memory_topic: MakeMemoryTopic, olga: User, ivan: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked for erased owners before the erasure began, and commits after that has been remembered."""
    topic, has_looked, may_commit = make_memory_topic(2), threading.Event(), threading.Event()
    send(topic, olga)
    send(topic, ivan)

    def record_late(*args: Any, **options: Any) -> None:
        has_looked.set()
        assert may_commit.wait(60)
        record_batches(*args, **options)

    monkeypatch.setattr(store, "record_batches", record_late)
    results: list[Erased] = []
    storing = in_thread(topic.poll)
    assert has_looked.wait(60)
    subject = Subject.of_user(olga)
    erasing = in_thread(lambda: results.append(erase(subject)))
    try:
        eventually(lambda: waiting_sessions() == 1, seconds=20, what="the erasure to wait for the batch")
        assert ErasedOwner.objects.filter(finished_at=None).exists()
        assert not Todo.objects.exists()
    finally:
        may_commit.set()
        storing.join()
        erasing.join()

    assert [6] == [erased.todos for erased in results]
    assert {"of ivan", "refused"} == set(titles())
    assert not Todo.objects.filter(owner__in=subject.owners).exists()


def test_a_batch_that_begins_while_an_erasure_runs_stores_nothing_of_the_owner(
    make_memory_topic: MakeMemoryTopic, olga: User, ivan: User
) -> None:
    """Another session holds one of the todos, so the erasure has to be repeated."""
    topic, owner = make_memory_topic(), owner_of(olga)
    (held,) = send(topic, olga, 1)
    poll(topic)
    subject = Subject.of_user(olga)
    with open_transaction() as session:
        session.execute("SELECT FROM todos_todo WHERE id = %s FOR UPDATE", [held])
        with pytest.raises(DatabaseFailure):
            erase(subject)
        topic.send(event(title="new", owner=owner), event(title="of ivan", owner=owner_of(ivan)))
        assert (1, 1) == ((polled := topic.poll()).stored, polled.erased)
    assert 1 == erase(Subject.of_user(User.objects.get(pk=olga.pk))).todos
    assert ["of ivan"] == titles()


def test_a_todo_that_was_erased_while_its_form_was_open_is_not_inserted_again(admin_client: Client, olga: User) -> None:
    todo = add_todo(owner_of(olga), "of olga")
    subject, url = Subject.of_user(olga), f"/admin/todos/todo/{todo.id}/change/"
    with open_transaction() as session:
        session.execute("DELETE FROM todos_todo WHERE id = %s", [todo.id])
        saving = in_thread(lambda: admin_client.post(url, {"title": "of olga, edited", "description": ""}))
        eventually(lambda: waiting_sessions() == 1, seconds=20, what="the form to wait")
        session.execute("COMMIT")
    saving.join()
    assert Erased() == erase(subject)
    assert not Todo.objects.exists()
    assert not LogEntry.objects.exists()


# --- Interrupted, and again


@pytest.fixture
def interrupted(make_memory_topic: MakeMemoryTopic, olga: User) -> Topic:
    """Of five todos, the first transaction has deleted two; then the time was up."""
    topic = make_memory_topic()
    send(topic, olga)
    poll(topic)
    erased = erase(Subject.of_user(olga), seconds=0)
    assert (2, False) == (erased.todos, erased.is_finished)
    assert 3 == Todo.objects.count()
    return topic


def test_run_again_it_finishes_and_leaves_what_the_user_has_created_since(interrupted: Topic, olga: User) -> None:
    olga = User.objects.get(pk=olga.pk)
    interrupted.send(event(title="since", owner=owner_of(olga)))
    poll(interrupted)
    erased = erase(Subject.of_user(olga))
    assert (3, 2, True) == (erased.todos, erased.dead_letters, erased.is_finished)
    assert ["since"] == titles()
    assert "of olga" not in everything()
    assert (0, None) == (ErasedOwner.objects.filter(finished_at=None).count(), ErasedOwner.objects.get().user)


@pytest.mark.usefixtures("interrupted")
def test_a_trim_finishes_it() -> None:
    assert 0 < finish_interrupted(60).todos
    assert not Todo.objects.exists()
    assert Erased() == finish_interrupted(60)


def test_an_interrupted_deletion_of_a_user_ends_in_the_deletion(make_memory_topic: MakeMemoryTopic, olga: User) -> None:
    topic = make_memory_topic()
    send(topic, olga)
    poll(topic)
    erase(Subject.of_user(olga), deletes_user=True, seconds=0)
    assert [False] == [*User.objects.values_list("is_active", flat=True)]
    erase(Subject.of_user(User.objects.get()))
    assert not User.objects.exists()


@pytest.mark.usefixtures("interrupted")
def test_a_deletion_after_an_interruption_erases_what_the_user_has_created_since(olga: User) -> None:
    keys.make_first()
    olga = User.objects.get(pk=olga.pk)
    add_todo(owner_of(olga), "since")
    sign_in(olga, ["read"])
    assert (4, 1) == ((counted := count(Subject.of_user(olga), deletes_user=True)).todos, counted.users)
    assert 1 == erase(Subject.of_user(olga), deletes_user=True, seconds=0).refresh_tokens
    assert [False] == [*User.objects.values_list("is_active", flat=True)]
    erase(Subject.of_user(olga))
    assert (0, 0) == (Todo.objects.count(), User.objects.count())
    assert [True, True] == [*ErasedOwner.objects.exclude(finished_at=None).values_list("deletes_user", flat=True)]


def test_a_user_who_becomes_a_superuser_meanwhile_is_not_deleted(olga: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "_wait_for_batches", lambda: User.objects.update(is_superuser=True))
    assert 0 == erase(Subject.of_user(olga), deletes_user=True).users
    assert User.objects.exists()


def test_a_token_that_is_exchanged_meanwhile_has_no_successor(olga: User, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.make_first()
    token, has_paired, may_commit = sign_in(olga, ["read"]).refresh, threading.Event(), threading.Event()
    pair = issue._pair

    def pair_late(*args: Any) -> TokenPair:
        paired = pair(*args)
        has_paired.set()
        assert may_commit.wait(60)
        return paired

    monkeypatch.setattr(issue, "_pair", pair_late)
    exchanging = in_thread(lambda: issue.refresh(token))
    assert has_paired.wait(60)
    erasing = in_thread(lambda: erase(Subject.of_user(olga)))
    try:
        eventually(lambda: waiting_sessions() == 1, seconds=20, what="the erasure to wait for the exchange")
    finally:
        may_commit.set()
        exchanging.join()
        erasing.join()
    assert 0 == olga.refresh_tokens.count()


@pytest.mark.usefixtures("interrupted")
def test_a_trim_does_not_delete_a_user_who_has_become_a_superuser(olga: User) -> None:
    ErasedOwner.objects.update(deletes_user=True)
    User.objects.filter(pk=olga.pk).update(is_superuser=True)
    assert finish_interrupted(60).is_finished
    assert (0, 1) == (Todo.objects.count(), User.objects.filter(pk=olga.pk).count())


@pytest.mark.usefixtures("interrupted")
def test_a_trim_finishes_only_what_it_has_looked_for(monkeypatch: pytest.MonkeyPatch, ivan: User) -> None:
    """Meanwhile one owner is erased, and the erasure of another begins again, with its user."""
    owners_with, late = erasure._owners_with, ErasedOwner(id=owner_of(ivan), user=ivan, deletes_user=True)

    def begin_others(ids: set[str]) -> set[str]:
        ErasedOwner.objects.update(deletes_user=True)
        late.save()
        return owners_with(ids)

    add_todo(owner_of(ivan), "of ivan")
    monkeypatch.setattr(erasure, "_owners_with", begin_others)
    finish_interrupted(60)
    assert (["of ivan"], 2) == (titles(), ErasedOwner.objects.filter(finished_at=None, user__isnull=False).count())


def test_an_owner_known_by_a_hash_is_looked_for_after_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    ErasedOwner.objects.create(id=erasure_id("olga@example.com"))
    monkeypatch.setattr(erasure, "_wait_for_batches", lambda: add_todo("olga@example.com", "late"))
    assert 1 == finish_interrupted(60).todos


def test_a_limit_holds_while_nothing_is_found(olga: User) -> None:
    for offset in range(3):
        DeadLetter.objects.create(topic="t", partition=0, offset=offset, reason="invalid", detail="d", value=b"{}")
    assert not erase(Subject.of_user(olga), seconds=0).is_finished


def test_an_erasure_that_fails_does_not_stop_another(olga: User, ivan: User) -> None:
    held = add_todo(owner_of(olga), "of olga")
    add_todo(owner_of(ivan), "of ivan")
    for user in (olga, ivan):
        ErasedOwner.objects.create(id=owner_of(user), user=user)
    with open_transaction() as session:
        session.execute("SELECT FROM todos_todo WHERE id = %s FOR UPDATE", [held.id])
        assert (1, False) == ((erased := finish_interrupted(60)).todos, erased.is_finished)
    assert ["of olga"] == titles()
    assert 1 == finish_interrupted(60).todos


def test_what_an_older_worker_stored_after_the_erasure_is_erased_by_a_trim(olga: User, ivan: User) -> None:
    owner = owner_of(olga)
    erase(Subject.of_user(olga))
    add_todo(owner, "late")
    add_todo(owner_of(ivan), "of ivan")
    assert 1 == finish_interrupted(60).todos
    assert ["of ivan"] == titles()
    assert Erased() == finish_interrupted(60)
    assert ErasedOwner.objects.get().finished_at


# --- Forgotten


@pytest.mark.parametrize(
    ("days", "retention", "is_forgotten"),
    [
        (LONGEST_TOKEN_DAYS + 7 + 7 + 1, Retention(7 * 86_400, None, 7 * 86_400), True),
        (LONGEST_TOKEN_DAYS + 7 + 7, Retention(7 * 86_400, None, 7 * 86_400), False),
        (LONGEST_TOKEN_DAYS + 10_000, Retention(None, None, 7 * 86_400), False),
        (LONGEST_TOKEN_DAYS + 10_000, Retention(7 * 86_400, None, None), False),
    ],
)
def test_an_owner_is_forgotten_when_kafka_can_hold_nothing_of_them(
    days: int, retention: Retention, is_forgotten: bool, make_memory_topic: MakeMemoryTopic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    log = make_memory_topic().log()
    monkeypatch.setattr(log, "retention", lambda: retention)
    at = timezone.now() - timedelta(days=days, minutes=1)
    ErasedOwner.objects.create(id=uuid4(), erased_at=at, finished_at=at)
    unfinished = ErasedOwner.objects.create(id=uuid4(), erased_at=at)
    assert int(is_forgotten) == forget_expired(log)
    assert [unfinished] == [*ErasedOwner.objects.filter(finished_at=None)]


def test_kafka_is_not_asked_while_a_token_may_still_be_valid(make_memory_topic: MakeMemoryTopic) -> None:
    log = make_memory_topic().log()
    log.retention = lambda: pytest.fail("asked")  # type: ignore[method-assign]
    ErasedOwner.objects.create(id=uuid4(), finished_at=timezone.now())
    assert 0 == forget_expired(log)


def test_the_trim_forgets_by_the_topics_own_settings(topic: Topic) -> None:
    topic.configure(retention_ms=60_000, segment_ms=60_000)
    at = timezone.now() - timedelta(days=LONGEST_TOKEN_DAYS + 2)
    ErasedOwner.objects.create(id=uuid4(), erased_at=at, finished_at=at)
    close_process_log()  # which a test before may have left, with a topic of its own
    trim_batches()
    close_process_log()
    assert not ErasedOwner.objects.exists()


def test_the_trim_forgets_although_no_erasure_can_be_finished(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(seconds: float) -> Erased:
        raise OperationalError(f"no lock in {seconds} s")

    asked: list[Log] = []

    def forget(log: Log) -> int:
        asked.append(log)
        return 0

    monkeypatch.setattr(tasks, "finish_interrupted", fail)
    monkeypatch.setattr(tasks, "forget_expired", forget)
    close_process_log()
    trim_batches()
    close_process_log()
    assert 1 == len(asked)


# --- The command


def test_the_command_says_what_goes_and_what_remains(
    make_memory_topic: MakeMemoryTopic, topic: Topic, olga: User
) -> None:
    memory = make_memory_topic()
    send(memory, olga)
    poll(memory)
    dry = json.loads(run("erase_owner", "olga", "--dry-run", "--json").out)
    assert 5 == Todo.objects.count()
    done = json.loads(run("erase_owner", "olga", "--json").out)
    assert (True, False) == (dry["dry_run"], done["dry_run"])
    assert dry["owners"] == done["owners"]
    assert 5 == done["owners"][0]["todos"]
    assert any(row["where"] == f"Kafka, topic {topic.kafka.topic}" and "UTC" in row["until"] for row in done["remains"])
    text = run("erase_owner", "olga", "--delete-user")
    assert (0, False) == (text.code, User.objects.filter(username="olga").exists())
    assert "remains in backups" in text.out
    assert 1 == run("erase_owner", "olga").code


def test_the_command_says_how_to_finish_without_erasing_what_came_since(olga: User, kafka_away: str) -> None:
    owner = owner_of(olga)
    held = add_todo(owner, "of olga")
    with open_transaction() as session:
        session.execute("SELECT FROM todos_todo WHERE id = %s FOR UPDATE", [held.id])
        failed = run("erase_owner", "olga")
    assert 1 == failed.code
    assert f"erase_owner --owner {owner}" in failed.said
    finish_interrupted(60)
    add_todo(owner_of(User.objects.get()), "since")
    assert 0 == run("erase_owner", "--owner", owner).code
    assert ["since"] == titles()


def test_an_erasure_of_an_owner_whose_user_was_deleted_keeps_that_known(olga: User) -> None:
    owner = owner_of(olga)
    erase(Subject.of_user(olga), deletes_user=True)
    erase(Subject.of_owner(owner))
    assert ErasedOwner.objects.get().deletes_user


def test_what_the_list_holds_is_erased_again_after_a_restore(
    make_memory_topic: MakeMemoryTopic, olga: User, tmp_path: Path, kafka_away: str
) -> None:
    topic, owner, file = make_memory_topic(), owner_of(olga), tmp_path / "erased.json"
    send(topic, olga)
    poll(topic)
    run("erase_owner", "olga", "--delete-user")
    file.write_text(run("erase_owner", "--list", "--json").out)
    assert owner in run("erase_owner", "--list").out

    ErasedOwner.objects.all().delete()
    Owner.objects.filter(user=User.objects.create_user("olga")).update(subject=owner)
    rewind(topic.kafka.topic, 0, 0)
    poll(topic)
    assert 5 == Todo.objects.count()

    done = run("erase_owner", "--again", str(file))
    assert (0, 0, 0) == (done.code, Todo.objects.count(), User.objects.count())
    assert "unknown: Kafka does not answer" in done.out


@pytest.mark.parametrize(
    "content", ["", '{"owner": 1}', "[1]", '[{"owner": "x", "deletes_user": true}]', '[{"owner": 1}]']
)
def test_another_file_erases_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(content)
    done = run("erase_owner", "--again", str(tmp_path / "file"))
    assert 1 == done.code
    assert not ErasedOwner.objects.exists()


# --- In the admin

USERS = "/admin/auth/user/"


def ask(client: Client, *users: User, **fields: str) -> Any:
    data = {"action": "erase_owner", "_selected_action": [user.pk for user in users]} | fields
    return client.post(USERS, data, follow=True)


def test_the_admin_asks_and_then_erases(
    make_memory_topic: MakeMemoryTopic, admin_client: Client, olga: User, kafka_away: str
) -> None:
    topic = make_memory_topic()
    send(topic, olga)
    poll(topic)
    page = ask(admin_client, olga).content.decode()
    assert "5 todos, 2 dead letters" in page
    assert 'name="delete_user"' in page
    assert 5 == Todo.objects.count()

    assert "5 todos and 2 dead letters erased" in ask(admin_client, olga, post="yes").content.decode()
    assert not Todo.objects.exists()
    assert User.objects.filter(pk=olga.pk).exists()
    ask(admin_client, olga, post="yes", delete_user="yes")
    assert not User.objects.filter(pk=olga.pk).exists()
    assert "olga" not in everything()


def test_the_admin_takes_one_user_at_a_time_and_deletes_no_superuser(
    admin_client: Client, admin_user: User, olga: User, kafka_away: str
) -> None:
    assert "Select one user" in ask(admin_client, olga, admin_user, post="yes").content.decode()
    assert 'name="delete_user"' not in ask(admin_client, admin_user).content.decode()
    other = User.objects.create_superuser("other")
    assert "is a superuser" in ask(admin_client, other, post="yes", delete_user="yes").content.decode()
    assert not ErasedOwner.objects.exists()


@pytest.mark.parametrize(("permission", "may"), [("erase_owner", True), ("delete_user", False)])
def test_the_admin_wants_a_permission_of_its_own(
    client: Client, olga: User, permission: str, may: bool, kafka_away: str
) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=[permission, "view_user", "change_user"]))
    client.force_login(staff)
    ask(client, olga, post="yes", delete_user="yes")
    assert may is ErasedOwner.objects.exists()
    assert User.objects.filter(pk=olga.pk).exists()  # that needs both permissions
