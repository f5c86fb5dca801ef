"""Erase an owner: remember it, wait for the batches that are being stored, then delete in bounded transactions.

Once an owner is remembered, no batch stores a record of theirs. A batch looks for erased owners after it has locked its
partitions in the ledger. So an erasure that takes each of these locks once finds everything that there is. A trim
finishes an erasure that was interrupted, and erases what a worker of an older release has stored since.
"""

import logging
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Self
from uuid import UUID, uuid4

from axes.utils import reset as forget_failed_sign_ins
from django.contrib.admin.models import LogEntry
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import Error as DatabaseFailure
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from todos.ingest.parsing import named_owners
from todos.ingest.store import set_transaction_timeouts
from todos.models import DeadLetter, DeadLetterEvent, ErasedOwner, Owner, PartitionLedger, Todo
from todos.owners import UUID_TEXT, erasure_id, owner_of, user_of
from todos.selectors import PageCursor, beyond

logger = logging.getLogger(__name__)

# Rows of one transaction. A dead letter may have a megabyte.
CHUNK_TODOS, CHUNK_LETTERS, CHUNK_ENTRIES = 2_000, 50, 1_000
LEDGER_WAIT = "35s"  # longer than an idle transaction of a frozen worker lasts (todoproject/settings.py)
ACTOR = "erase_owner"
ERASED_TEXT = "erased"

# Reads one row of each owner from the owners' index.
DISTINCT_OWNERS = """
    WITH RECURSIVE owners (owner) AS (
        (SELECT owner FROM todos_todo WHERE owner <> '' ORDER BY owner LIMIT 1)
        UNION ALL
        SELECT (SELECT t.owner FROM todos_todo t WHERE t.owner > o.owner AND t.owner <> '' ORDER BY t.owner LIMIT 1)
        FROM owners o WHERE o.owner IS NOT NULL)
    SELECT owner FROM owners WHERE owner IS NOT NULL
"""
# The order, which only the owners' index has, keeps it to one probe for each erased owner (TodoQuerySet.of_owner).
REOPEN = """
    UPDATE todos_erasedowner e SET finished_at = NULL WHERE e.finished_at IS NOT NULL AND (
        SELECT true FROM todos_todo t WHERE t.owner = e.id::text AND t.owner <> ''
        ORDER BY t.created_at DESC NULLS LAST, t.id DESC NULLS LAST LIMIT 1)
"""


class ErasureRefused(Exception):
    """Raised when an erasure is not possible as asked; the message says why. Nothing has changed."""


@dataclass(frozen=True)
class Subject:
    """The owner to erase: the texts by which records and todos name it, and its user if there is one."""

    owners: frozenset[str]
    user: User | None = None

    @classmethod
    def of_user(cls, user: User) -> Self:
        """Return the user's owner; after an interruption the former one, whose erasure is not finished."""
        if unfinished := _ids(_unfinished().filter(user=user)):
            return cls(frozenset(_owners_with(unfinished)), user)
        former = Owner.objects.filter(user=user).values_list("former", flat=True).first()
        return cls(frozenset({owner_of(user)} | ({str(former)} if former is not None else set())), user)

    @classmethod
    def of_owner(cls, owner: str) -> Self:
        """Return an owner by the text that todos show, or the id that the list of erased owners shows.

        Raises ErasureRefused for the empty text.
        """
        if not owner:
            raise ErasureRefused("name an owner: todos without one are not erased together")
        id_ = erasure_id(owner)
        erasure = _unfinished().filter(id=id_).select_related("user").first()
        if user := user_of(owner) or (erasure and erasure.user):
            return cls(cls.of_user(user).owners | {owner}, user)
        return cls(frozenset(_owners_with({id_}) if id_ == owner else {owner}))

    @property
    def ids(self) -> set[str]:
        return {erasure_id(owner) for owner in self.owners}


@dataclass
class Erased:
    """How many rows of each kind were erased, or would be. `is_finished` is False if some may be left."""

    todos: int = 0
    dead_letters: int = 0
    log_entries: int = 0
    refresh_tokens: int = 0
    sessions: int = 0
    users: int = 0
    is_finished: bool = True


def count(subject: Subject, *, deletes_user: bool = False) -> Erased:
    """Count what an erasure would erase now, and change nothing. Raises ErasureRefused or a DatabaseError."""
    user = _user_to_delete(subject, deletes_user=deletes_user)
    subject = _with_present_owner(subject, user)
    return Erased(
        todos=Todo.objects.filter(owner__in=subject.owners).count(),
        dead_letters=sum(map(len, _dead_letters(subject.ids))),
        log_entries=sum(map(len, _entries_of_todos(subject.owners))) + (_entries_about(user).count() if user else 0),
        refresh_tokens=subject.user.refresh_tokens.count() if subject.user else 0,
        sessions=len(_sessions(user)) if user else 0,
        users=int(user is not None),
    )


def erase(subject: Subject, *, deletes_user: bool = False, seconds: float = float("inf")) -> Erased:
    """Erase everything of the subject, for about `seconds`. The user gets another owner, or is deleted at the end.

    Raises ErasureRefused, or a DatabaseError: what was erased by then stays erased, and the owner is remembered.
    """
    deadline = time.monotonic() + seconds
    user = _user_to_delete(subject, deletes_user=deletes_user)
    subject = _with_present_owner(subject, user)
    erased = Erased(refresh_tokens=_remember(subject, deletes_user=user is not None))
    rows = list(ErasedOwner.objects.filter(id__in=subject.ids).select_related("user"))
    _wait_for_batches()
    _finish(rows, subject.owners, deadline, erased)
    return erased


def finish_interrupted(seconds: float) -> Erased:
    """Finish the erasures that were interrupted, for about `seconds`, and those whose owner has todos again.

    One that fails is logged and left to the next call. Raises a DatabaseError before the first.
    """
    deadline, erased = time.monotonic() + seconds, Erased()
    with connection.cursor() as cursor:
        cursor.execute(REOPEN)
    if not (rows := list(_unfinished().select_related("user").order_by("user_id", "id"))):
        return erased
    _wait_for_batches()
    for _, of_one in groupby(rows, key=lambda row: row.user_id or row.id):
        erasures = list(of_one)
        try:
            _finish(erasures, (), deadline, erased)
        except DatabaseFailure:
            erased.is_finished = False
            logger.exception("erasure of %s: interrupted again; the next trim continues", ", ".join(map(str, erasures)))
        if time.monotonic() > deadline:
            break
    return erased


# --- Steps


def _unfinished() -> "QuerySet[ErasedOwner]":
    return ErasedOwner.objects.filter(finished_at=None)


def _user_to_delete(subject: Subject, *, deletes_user: bool) -> User | None:
    """Return the user, if this or the interrupted erasure deletes it. Raises ErasureRefused."""
    was_asked_before = _unfinished().filter(id__in=subject.ids, deletes_user=True).exists()
    if subject.user is None or not (deletes_user or was_asked_before):
        return None
    if subject.user.is_superuser:
        raise ErasureRefused(f"{subject.user} is a superuser and is not deleted; take that right away first")
    return subject.user


def _with_present_owner(subject: Subject, user: User | None) -> Subject:
    """Add the present owner of a user to be deleted: an interrupted erasure may have given the user a new one."""
    present = Owner.objects.filter(user=user).values_list("subject", flat=True) if user else ()
    return replace(subject, owners=subject.owners.union(map(str, present)))


@transaction.atomic(durable=True)
def _remember(subject: Subject, *, deletes_user: bool) -> int:
    """Remember the owner as erased. The user gets another owner, or is shut out until the deletion.

    Returns the number of refresh tokens that ended.
    """
    user = subject.user
    if user:  # before the tokens: an exchange that is under way commits the next one first
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
    values: dict[str, Any] = {"erased_at": Now(), "finished_at": None}
    if user:  # else it stays known that the user was deleted
        values |= {"deletes_user": deletes_user, "user": user}
    for id_ in subject.ids:
        ErasedOwner.objects.update_or_create(id=id_, defaults=values)
    if user is None:
        return 0
    if deletes_user:
        User.objects.filter(pk=user.pk).update(is_active=False)
    elif not Owner.objects.filter(user=user, subject__in=subject.ids).update(subject=uuid4(), former=None):
        return 0
    return user.refresh_tokens.all().delete()[0]


def _finish(erasures: list[ErasedOwner], owners: Collection[str], deadline: float, erased: Erased) -> None:
    """Erase what is left of these owners, step by step, until it is done or the deadline has passed.

    Call it after `_wait_for_batches`. `owners` are the texts that are known. A row that a later run has changed is left
    to that run.
    """
    for kind, number in _steps(erasures, owners):
        setattr(erased, kind, getattr(erased, kind) + number)
        if time.monotonic() > deadline:
            erased.is_finished = False
            return
    for row in erasures:
        unchanged = ErasedOwner.objects.filter(id=row.id, erased_at=row.erased_at, deletes_user=row.deletes_user)
        unchanged.update(finished_at=Now(), user=None)


def _steps(erasures: list[ErasedOwner], known: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yield the kind and number of rows that each transaction has erased; 0 where a chunk had nothing to erase."""
    ids = {str(row.id) for row in erasures}
    owners = {*known} | _owners_with(ids - {erasure_id(owner) for owner in known if owner not in ids})
    for todos in _todos(owners):
        yield "todos", _delete_todos(todos)
    for letters in _dead_letters(ids):
        yield "dead_letters", _empty_dead_letters(letters) if letters else 0
    for entries in _entries_of_todos(owners):
        yield "log_entries", _empty_entries(LogEntry.objects.filter(pk__in=entries)) if entries else 0
    for user_id in {row.user_id for row in erasures if row.deletes_user and row.user_id}:
        yield from _delete_user(user_id)


@transaction.atomic(durable=True)
def _delete_user(user_id: int) -> list[tuple[str, int]]:
    """Delete the user and what is about them, and return the rows of each kind; nothing of a superuser."""
    if (user := User.objects.select_for_update().filter(pk=user_id).first()) is None:
        return []
    if user.is_superuser:  # since the erasure began
        logger.warning("erasure of %s: the user is a superuser now, and is not deleted", user)
        return []
    sessions, _ = Session.objects.filter(pk__in=_sessions(user)).delete()
    entries = _empty_entries(_entries_about(user))
    forget_failed_sign_ins(username=user.get_username())
    user.delete()
    return [("sessions", sessions), ("log_entries", entries), ("users", 1)]


def _wait_for_batches() -> None:
    """Return when every batch that was being stored has ended: it may not have seen the erasure."""
    for ledger in PartitionLedger.objects.values_list("pk", flat=True):
        with transaction.atomic(durable=True):
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LEDGER_WAIT])
            list(PartitionLedger.objects.select_for_update(no_key=True).filter(pk=ledger).values_list("pk"))


def _todos(owners: Collection[str]) -> Iterator[list[UUID]]:
    for owner in owners:
        todos, cursor = Todo.objects.of_owner(owner), None
        while page := list(beyond(todos, cursor).only("id", "created_at")[:CHUNK_TODOS]):
            yield [todo.id for todo in page]
            cursor = PageCursor(page[-1].created_at, page[-1].id, backwards=False)


@transaction.atomic(durable=True)
def _delete_todos(ids: list[UUID]) -> int:
    """Delete todos, which are locked in the order of their keys: it cannot deadlock with a change of many todos."""
    set_transaction_timeouts()
    rows = Todo.objects.filter(pk__in=ids).order_by("pk").select_for_update()
    return Todo.objects.filter(pk__in=list(rows.values_list("pk", flat=True))).delete()[0]


def _dead_letters(ids: set[str]) -> Iterator[list[int]]:
    """Yield, for each chunk, the dead letters of which the value or an operator's edit names one of the owners."""
    letters, last = DeadLetter.objects.exclude(status=DeadLetter.Status.ERASED).order_by("pk"), 0
    while rows := list(letters.filter(pk__gt=last).values_list("pk", "value", "edited_value")[:CHUNK_LETTERS]):
        last = rows[-1][0]
        yield [pk for pk, *payloads in rows if not ids.isdisjoint(_owner_ids(payloads))]


def _owner_ids(payloads: list[bytes | memoryview | None]) -> set[str]:
    return {erasure_id(owner) for payload in payloads for owner in named_owners(payload)}


@transaction.atomic(durable=True)
def _empty_dead_letters(ids: list[int]) -> int:
    """Empty dead letters. Their rows stay: they account for an offset each."""
    set_transaction_timeouts()
    letters = DeadLetter.objects.filter(pk__in=ids).exclude(status=DeadLetter.Status.ERASED)
    locked = list(letters.order_by("pk").select_for_update().values_list("pk", flat=True))
    DeadLetterEvent.objects.filter(letter__in=locked).update(note="")
    DeadLetterEvent.objects.bulk_create(
        DeadLetterEvent(letter_id=pk, action=DeadLetterEvent.Action.ERASED, actor=ACTOR) for pk in locked
    )
    return DeadLetter.objects.filter(pk__in=locked).update(
        status=DeadLetter.Status.ERASED, detail=ERASED_TEXT, key=None, value=None, edited_value=None, headers=[],
        timestamp_ms=None, todo_id=None, changed_by=ACTOR, changed_at=Now(),
    )  # fmt: skip


def _entries_of_todos(owners: Collection[str]) -> Iterator[list[int]]:
    """Yield, for each chunk, log entries about the owners' todos, or about todos that are gone: whose is unknown."""
    todos = ContentType.objects.get_for_model(Todo)
    entries = LogEntry.objects.filter(content_type=todos, object_id__isnull=False).exclude(object_repr=ERASED_TEXT)
    last = 0
    while rows := list(entries.order_by("pk").filter(pk__gt=last).values_list("pk", "object_id")[:CHUNK_ENTRIES]):
        last = rows[-1][0]
        ids = [object_id for _, object_id in rows if object_id and UUID_TEXT.fullmatch(object_id)]
        of_others = Todo.objects.filter(pk__in=ids).exclude(owner__in=owners)
        kept = {str(pk) for pk in of_others.values_list("pk", flat=True)}
        yield [pk for pk, object_id in rows if object_id not in kept]


def _entries_about(user: User) -> "QuerySet[LogEntry]":
    entries = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(User), object_id=str(user.pk))
    return entries.exclude(object_repr=ERASED_TEXT).exclude(user=user)  # those are deleted with the user


def _empty_entries(entries: "QuerySet[LogEntry]") -> int:
    return entries.update(object_repr=ERASED_TEXT, change_message="")


def _sessions(user: User) -> list[str]:
    return [
        session.pk for session in Session.objects.iterator() if session.get_decoded().get(SESSION_KEY) == str(user.pk)
    ]


def _ids(erasures: "QuerySet[ErasedOwner]") -> set[str]:
    return {str(id_) for id_ in erasures.values_list("id", flat=True)}


def _owners_with(ids: Collection[str]) -> set[str]:
    """Return the texts of owners with these ids. Of a hash they are searched among the todos'."""
    owners = {*ids}
    if any(UUID(id_).version == 5 for id_ in ids):  # a hash
        with connection.cursor() as cursor:
            cursor.execute(DISTINCT_OWNERS)
            owners |= {owner for (owner,) in cursor.fetchall() if erasure_id(owner) in ids}
    return owners
