"""A pipeline in which nobody gets in without signing in, and two people who do."""

import pytest
from django.contrib.auth.models import User

from tests.support.stack import MakeStack, Services, Stack
from tests.support.tokens import PASSWORD, Signer
from todos.tokens import keys


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, shared_services: Services, template: str) -> Stack:
    return make_stack(shared_services, template=template, auth="token").start()


@pytest.fixture(scope="module")
def users(stack: Stack) -> dict[str, User]:
    with stack.django():
        staff = User.objects.create_superuser("staff", password=PASSWORD)
        return {name: User.objects.create_user(name, password=PASSWORD) for name in ("olga", "ivan")} | {"staff": staff}


@pytest.fixture
def signer(stack: Stack) -> Signer:
    """Django's own key."""
    with stack.django():
        own = keys.signing_key_pair()
    return Signer(own.kid, own.private)
