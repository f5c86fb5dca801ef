"""One stack of real processes for each module; a module that strikes a service down makes another one."""

import pytest

from tests.support.stack import MakeStack, Services, Stack


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, shared_services: Services, template: str) -> Stack:
    """All programs; requests need no token."""
    return make_stack(shared_services, template=template).start()
