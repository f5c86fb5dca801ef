"""Signing in, refreshing, and whose todos a token shows."""

import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from edge_api.contract.tokens import kid_of, read_jwks, verify
from tests.support.manage import run
from tests.support.threads import in_threads
from tests.support.tokens import PASSWORD, Signer, bearer
from todos.models import Todo
from todos.owners import owner_of
from todos.tokens import issue, keys
from todos.tokens.models import RefreshToken, SigningKey

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _closed(settings: Settings) -> None:
    settings.API_AUTH = "token"


@pytest.fixture
def olga() -> User:
    keys.make_first()
    return User.objects.create_user("olga", password=PASSWORD)


def post(client: Client, path: str, **body: str) -> Any:
    return client.post(f"/api/token/{path}", body, "application/json")


def todo_of(owner: str) -> Todo:
    return Todo.objects.create(
        id=uuid4(), title="t", owner=owner, created_at=timezone.now(), source_partition=0, source_offset=0
    )


def access_of(client: Client, **headers: str) -> int:
    return int(client.get("/api/todos/", headers=headers).status_code)


def test_a_password_gives_a_token_that_whoever_has_the_public_keys_can_verify(client: Client, olga: User) -> None:
    answer = post(client, "", username="olga", password=PASSWORD)
    assert (200, "no-store") == (answer.status_code, answer["Cache-Control"])
    got = answer.json()
    jwks = client.get("/.well-known/jwks.json")
    assert "max-age=5, public" == ", ".join(sorted(jwks["Cache-Control"].split(", ")))
    token = verify(got["access"], read_jwks(jwks.content)[kid_of(got["access"])])
    assert (owner_of(olga), frozenset({"read", "write"})) == (token.owner, token.scopes)
    assert ("Bearer", 600) == (got["token_type"], got["expires_in"])
    assert 200 == access_of(client, **bearer(got["access"]))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"username": "olga", "password": "wrong"}, 401),
        ({"username": "ivan", "password": PASSWORD}, 401),
        ({"username": "olga"}, 400),
        ({"username": "olga", "password": PASSWORD, "scope": "admin"}, 400),
        ({"username": "o\0", "password": PASSWORD}, 400),
    ],
)
def test_no_token_without_the_password(client: Client, olga: User, body: dict[str, str], status: int) -> None:
    assert status == post(client, "", **body).status_code
    assert not RefreshToken.objects.exists()


def test_a_refresh_token_is_good_once_and_a_second_use_ends_its_chain(client: Client, olga: User) -> None:
    first = post(client, "", username="olga", password=PASSWORD, scope="read").json()["refresh"]
    other = post(client, "", username="olga", password=PASSWORD).json()["refresh"]
    answer = post(client, "refresh/", refresh=first)
    second = answer.json()["refresh"]
    assert (200, 403) == (
        answer.status_code,
        client.delete(f"/api/todos/{uuid4()}/", headers=bearer(answer.json()["access"])).status_code,  # still read
    )
    statuses = [post(client, "refresh/", refresh=token).status_code for token in (first, second, other, "x")]
    assert [401, 401, 200, 401] == statuses


def test_a_new_password_and_a_switched_off_account_end_it(client: Client, olga: User) -> None:
    pairs = [issue.sign_in(olga, ["read"]) for _ in range(2)]
    olga.set_password("another one")
    olga.save()
    assert 401 == post(client, "refresh/", refresh=pairs[0].refresh).status_code
    pair = issue.sign_in(olga, ["read"])
    User.objects.update(is_active=False)
    assert 401 == post(client, "refresh/", refresh=pair.refresh).status_code
    assert 401 == access_of(client, **bearer(pair.access))


@pytest.mark.django_db(transaction=True)
def test_two_that_refresh_at_the_same_moment_do_not_both_win(olga: User) -> None:
    token, won, start = issue.sign_in(olga, ["read"]).refresh, [], threading.Barrier(2)

    def refresh() -> None:
        start.wait(30)
        with suppress(issue.RefreshRefused):
            won.append(issue.refresh(token))

    in_threads(refresh, refresh)
    assert (1, 0) == (len(won), RefreshToken.objects.count())


@pytest.mark.django_db(transaction=True)
def test_the_end_of_a_chain_does_not_miss_the_link_that_is_being_added(
    olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = issue.sign_in(olga, ["read"]).refresh
    second, added, ended = issue.refresh(first).refresh, threading.Event(), threading.Event()

    def slow(*_: object) -> str:
        added.set()
        ended.wait(0.5)
        return "access"

    def replay() -> None:
        added.wait(30)
        with suppress(issue.RefreshRefused):
            issue.refresh(first)
        ended.set()

    monkeypatch.setattr(issue, "access_token", slow)
    in_threads(lambda: issue.refresh(second), replay)
    assert 0 == RefreshToken.objects.count()


def test_old_refresh_tokens_are_swept_when_somebody_signs_in_or_refreshes(olga: User) -> None:
    issue.sign_in(olga, ["read"])
    RefreshToken.objects.update(expires_at=timezone.now())
    latest = issue.sign_in(olga, ["read"])
    assert 1 == RefreshToken.objects.count()
    for _ in range(3):
        RefreshToken.objects.exclude(used_at=None).update(expires_at=timezone.now())
        latest = issue.refresh(latest.refresh)
    assert 2 == RefreshToken.objects.count()  # what was used last, and what came of it


def test_a_short_grace_shortens_longer_ones(client: Client, olga: User) -> None:
    old = issue.access_token(olga, ["read"], timedelta(days=1))
    keys.rotate(timedelta(days=30))
    assert 200 == access_of(client, **bearer(old))
    keys.rotate(timedelta(0))
    assert 401 == access_of(client, **bearer(old))


def test_without_a_key_that_can_be_read_nothing_is_signed_and_make_makes_one(
    client: Client, olga: User, settings: Settings
) -> None:
    settings.SECRET_KEY = "another one"
    assert 503 == post(client, "", username="olga", password=PASSWORD).status_code
    assert "was encrypted with another DJANGO_SECRET_KEY" in run("create_token", "olga").said
    assert run("signing_keys", "make").out.endswith(" signs from now on\n")
    assert "a key signs already\n" == run("signing_keys", "make").out
    assert 200 == post(client, "", username="olga", password=PASSWORD).status_code


def test_the_private_key_is_not_readable_in_the_database(olga: User) -> None:
    private = keys.signing_key_pair().private.private_bytes_raw()
    row = SigningKey.objects.get()
    assert private not in row.private.encode()
    assert private.hex() not in row.private


def test_an_owner_sees_and_changes_only_their_own(client: Client, olga: User) -> None:
    mine, other, nobodys = todo_of(owner_of(olga)), todo_of("999"), todo_of("")
    headers = bearer(issue.access_token(olga, ["read", "write"]))
    shown = client.get("/api/todos/", headers=headers).json()["results"]
    assert [str(mine.pk)] == [todo["id"] for todo in shown]
    for todo, status in ((mine, 200), (other, 404), (nobodys, 404)):
        url = f"/api/todos/{todo.pk}/"
        assert status == client.get(url, headers=headers).status_code
        patch = client.patch(url, {"title": "new"}, "application/json", headers=headers)
        assert status == patch.status_code
    assert [204, 404, 404] == [
        client.delete(f"/api/todos/{todo.pk}/", headers=headers).status_code for todo in (mine, other, nobodys)
    ]


def test_a_session_is_as_good_as_a_token_but_needs_its_csrf_token(olga: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(olga)
    mine = todo_of(owner_of(olga))
    assert 1 == len(client.get("/api/todos/").json()["results"])
    assert 403 == client.delete(f"/api/todos/{mine.pk}/").status_code


def test_open_means_that_nobody_sees_what_is_nobodys(client: Client, olga: User, settings: Settings) -> None:
    settings.API_AUTH = "open"
    todo_of(owner_of(olga)), todo_of("")
    assert [""] == [Todo.objects.get(pk=todo["id"]).owner for todo in client.get("/api/todos/").json()["results"]]
    assert 401 == access_of(client, **bearer("x"))


def test_commands_make_tokens_and_keys(client: Client, olga: User) -> None:
    token = run("create_token", "billing", "--service", "--scope", "write", "--lifetime", "30d").out.strip()
    assert 403 == access_of(client, **bearer(token))
    service = User.objects.get(username="billing")
    assert not service.has_usable_password()
    old = run("create_token", "olga").out.strip()

    run("signing_keys", "rotate", "--grace", "1h")
    new = run("create_token", "olga").out.strip()
    assert [200, 200] == [access_of(client, **bearer(each)) for each in (old, new)]
    listed = run("signing_keys", "list").out.splitlines()
    assert ["signs", "verifies"] == [line.split("  ")[2].split()[0] for line in listed]
    assert {kid_of(old), kid_of(new)} == set(read_jwks(run("signing_keys", "export").out.encode()))

    assert 0 == run("signing_keys", "retire", kid_of(old)).code
    assert [401, 200] == [access_of(client, **bearer(each)) for each in (old, new)]
    assert {kid_of(new)} == set(read_jwks(client.get("/.well-known/jwks.json").content))
    assert "there is no key x" == run("signing_keys", "retire", "x").said
    assert "there is no key -x" == run("signing_keys", "retire", "--", "-x").said
    assert kid_of(new).isalnum()
    assert "there is no active user ivan" in run("create_token", "ivan").said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create_token", "", "--service"], "argument username: This field cannot be blank."),
        (["create_token", 200 * "x", "--service"], "argument username: Ensure this value has at most 150 characters"),
        (["create_token", "a b<script>", "--service"], "argument username: Enter a valid username."),
        (["create_token", "x", "--service", "--lifetime", "0s"], "argument --lifetime: must be 1s to 365d"),
        (["create_token", "x", "--service", "--lifetime", "366d"], "argument --lifetime: must be 1s to 365d"),
        (["signing_keys", "rotate", "--grace", "366d"], "argument --grace: must be 0s to 365d"),
    ],
)
def test_nonsense_is_wrong_usage_and_makes_nothing(arguments: list[str], message: str) -> None:
    assert message in run(*arguments).said
    assert (0, 0) == (User.objects.count(), SigningKey.objects.count())


def test_a_service_gets_no_account_where_there_is_no_key_to_sign_with() -> None:
    assert "there is no signing key" in run("create_token", "billing", "--service").said
    assert 0 == User.objects.count()


# --- What ends a token before its time


def test_another_password_ends_the_access_tokens_at_the_api_at_once(client: Client, olga: User) -> None:
    user, service = (bearer(issue.access_token(olga, ["read"], timedelta(days=days))) for days in (1, 365))
    assert [200, 200] == [access_of(client, **headers) for headers in (user, service)]
    olga.set_password("another one")
    olga.save()
    assert [401, 401] == [access_of(client, **headers) for headers in (user, service)]
    assert 200 == access_of(client, **bearer(issue.access_token(olga, ["read"])))


def test_a_deleted_account_ends_them_too(client: Client, olga: User) -> None:
    headers = bearer(issue.access_token(olga, ["read"]))
    olga.delete()
    assert 401 == access_of(client, **headers)


def test_a_token_of_a_release_that_named_no_password_is_good(client: Client, olga: User) -> None:
    own = keys.signing_key_pair()
    assert 200 == access_of(client, **bearer(Signer(own.kid, own.private).token(owner_of(olga))))


def test_another_secret_key_ends_no_token(client: Client, olga: User, settings: Settings) -> None:
    headers = bearer(issue.access_token(olga, ["read"]))
    settings.SECRET_KEY = "another one"
    assert 200 == access_of(client, **headers)
