"""What the admin says of tokens when a user's password changes, or the account ends."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.support.tokens import PASSWORD

pytestmark = pytest.mark.django_db
USERS = "/admin/auth/user/"
NEW = "another correct horse"


@pytest.fixture
def olga() -> User:
    return User.objects.create_user("olga", password=PASSWORD)


def told(client: Client, path: str, form: dict[str, Any]) -> bool:
    """Whether the page after the form tells until when tokens work."""
    response = client.post(path, form, follow=True)
    return any("The edge accepts those of a sign-in until" in str(message) for message in response.context["messages"])


def test_a_new_password_tells_until_when_tokens_work(admin_client: Client, olga: User) -> None:
    path = f"{USERS}{olga.pk}/password/"
    assert not told(admin_client, path, {"password1": NEW, "password2": PASSWORD})
    assert told(admin_client, path, {"password1": NEW, "password2": NEW})
    olga.refresh_from_db()
    assert olga.check_password(NEW)


def test_so_does_the_users_own_change(client: Client) -> None:
    staff = User.objects.create_user("staff", password=PASSWORD, is_staff=True)
    client.force_login(staff)
    passwords = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    assert told(client, "/admin/password_change/", passwords)


def test_guesses_at_the_old_password_are_limited_as_at_a_sign_in(client: Client, settings: Any) -> None:
    client.force_login(User.objects.create_user("staff", password=PASSWORD, is_staff=True))

    def change(old: str) -> int:
        form = {"old_password": old, "new_password1": NEW, "new_password2": PASSWORD}  # two that differ change nothing
        return client.post("/admin/password_change/", form).status_code

    limit = settings.AXES_FAILURE_LIMIT
    assert [200] * limit == [
        change(old) for old in ["wrong"] * (limit - 1) + [PASSWORD]
    ]  # a right one resets the count
    assert [200] * limit + [429, 429] == [change(old) for old in ["wrong"] * (limit + 1) + [PASSWORD]]


@pytest.mark.parametrize("is_active", [True, False])
def test_so_does_deactivation_alone_of_all_edits(admin_client: Client, olga: User, is_active: bool) -> None:
    form = {"username": "olga2", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    form |= {"is_active": "on"} if is_active else {}
    assert told(admin_client, f"{USERS}{olga.pk}/change/", form) is not is_active
    olga.refresh_from_db()
    assert ("olga2", is_active) == (olga.username, olga.is_active)


def test_so_does_a_deletion(admin_client: Client, olga: User) -> None:
    ivan = User.objects.create_user("ivan")
    assert told(admin_client, f"{USERS}{olga.pk}/delete/", {"post": "yes"})
    assert told(admin_client, USERS, {"action": "delete_selected", "_selected_action": [ivan.pk], "post": "yes"})
    assert not User.objects.filter(username__in=["olga", "ivan"]).exists()
