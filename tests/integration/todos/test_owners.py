"""An owner is one user for ever: over a restore, over the migration from primary keys, and with old tokens."""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from pytest_django import Settings

from devstack import Postgres
from devstack.postgres import tool_command
from edge_api.contract.tokens import SCOPES
from tests.support.stack import create_database
from tests.support.tokens import Signer, bearer
from tests.support.topic import Topic, event
from todos.models import Owner, Todo
from todos.owners import owner_of, user_of, username_of
from todos.tokens import keys
from todos.tokens.issue import access_token

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _closed(settings: Settings) -> None:
    settings.API_AUTH = "token"
    keys.make_first()


@pytest.fixture
def restored(postgres: Postgres, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Dump the database now. The call loses it, and restores what the dump has."""
    original, name = connection.settings_dict["NAME"], f"restored_{uuid.uuid4().hex[:8]}"

    def tool(tool: str, *arguments: str) -> None:
        subprocess.run(tool_command(tool, *arguments), check=True, capture_output=True)

    def restore() -> None:
        create_database(postgres, name)
        tool("pg_restore", "--single-transaction", f"--dbname={postgres.database_url(name)}", str(tmp_path / "dump"))
        connection.close()
        connection.settings_dict["NAME"] = name

    User.objects.create_user("olga")
    tool("pg_dump", "--format=custom", f"--file={tmp_path / 'dump'}", postgres.database_url(original))
    yield restore
    connection.close()
    connection.settings_dict["NAME"] = original


def titles(client: Client, token: str) -> list[str] | int:
    """What the token's user sees, or the status of the refusal."""
    answer = client.get("/api/todos/", headers=bearer(token))
    return [todo["title"] for todo in answer.json()["results"]] if answer.status_code == 200 else answer.status_code


def test_no_user_inherits_the_todos_of_a_user_whom_a_restore_lost(
    client: Client, make_memory_topic: Callable[..., Topic], restored: Callable[[], None]
) -> None:
    lost, topic = User.objects.create_user("lost"), make_memory_topic()
    old = {name: access_token(User.objects.get(username=name), SCOPES, timedelta(days=30)) for name in ("olga", "lost")}
    for user in (lost, User.objects.get(username="olga")):
        topic.send(event(title=f"of {user}", owner=owner_of(user)))
    topic.poll()
    assert ["of lost"] == titles(client, old["lost"])

    restored()
    new = User.objects.create_user("new")
    topic.poll()

    assert new.pk == lost.pk
    assert {"of lost", "of olga"} == set(Todo.objects.values_list("title", flat=True))
    assert [] == titles(client, access_token(new, SCOPES))
    assert 401 == titles(client, old["lost"])
    assert ["of olga"] == titles(client, old["olga"])


def test_a_token_that_names_a_primary_key_signs_no_user_in(client: Client) -> None:
    olga, key = User.objects.create_user("olga"), keys.signing_key_pair()
    signer = Signer(key.kid, key.private)
    assert ([], 401) == (
        titles(client, signer.token(owner_of(olga))),
        titles(client, signer.token(str(olga.pk))),
    )


@pytest.fixture
def numbered_owners() -> Iterator[None]:
    """The schema in which an owner was a primary key."""
    call_command("migrate", "todos", "0014", verbosity=0)
    yield
    call_command("migrate", "todos", verbosity=0)


@pytest.mark.usefixtures("numbered_owners")
def test_the_migration_gives_users_their_todos_and_what_is_still_in_kafka(
    make_memory_topic: Callable[..., Topic],
) -> None:
    users = User.objects.bulk_create([User(username="olga"), User(username="ivan")])
    owners = [*(str(user.pk) for user in users), "999999", "", "elsewhere"]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO todos_todo (id, title, description, is_done, created_at, updated_at, source_partition,"
            " source_offset, owner) VALUES (gen_random_uuid(), 'old', '', false, now(), now(), 0, 0, %s)",
            [[owner] for owner in owners],
        )
    call_command("migrate", "todos", verbosity=0)
    topic, later = make_memory_topic(), User.objects.create_user("later")
    for owner in [*owners, str(later.pk)]:
        topic.send(event(title="new", owner=owner or None))
    topic.poll()

    subjects = [owner_of(user) for user in users]
    assert 2 == len({*subjects} - {*owners})
    assert [*subjects, "999999", "", "elsewhere"] == owners_of("old", [*subjects, "999999", "", "elsewhere"])
    expected = [*subjects, "999999", "", "elsewhere", str(later.pk)]
    assert expected == owners_of("new", expected)


def owners_of(title: str, order: list[str]) -> list[str]:
    return sorted(Todo.objects.filter(title=title).values_list("owner", flat=True), key=order.index)


def test_every_user_has_an_owner_and_only_an_owner_has_a_user() -> None:
    olga = User.objects.create_user("olga")
    assert str(Owner.objects.get(user=olga).subject) == owner_of(olga)
    (ivan,) = User.objects.bulk_create([User(username="ivan")])
    assert owner_of(ivan) == owner_of(User.objects.get(username="ivan"))
    assert ("ivan", "", "", "") == (
        username_of(owner_of(ivan)), username_of(str(uuid.uuid4())), username_of("elsewhere"), username_of("")
    )  # fmt: skip
    assert olga == user_of(owner_of(olga))
