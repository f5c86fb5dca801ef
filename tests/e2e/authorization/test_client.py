"""The example of a client that the documentation shows, in front of a stack that wants tokens."""

import pytest
from django.contrib.auth.models import User

from tests.support.example import example
from tests.support.stack import Stack
from tests.support.tokens import PASSWORD


def test_the_example_client_does_what_it_says(stack: Stack, users: dict[str, User]) -> None:
    with example.Client(stack.edge_url, stack.web_url) as client:
        with pytest.raises(example.Refused, match="401"):
            client.create("nobody's")
        client.sign_in("ivan", PASSWORD)
        first, again = (client.create("Buy milk", key="once") for _ in range(2))
        assert first.id == again.id
        assert ["stored", "stored"] == [client.wait(accepted).status for accepted in (first, again)]
        others = {client.create(f"Buy bread {number}").id for number in range(3)}
        assert {"stored"} == {client.wait(client.create("Buy eggs")).status}
        assert others <= {todo.id for todo in client.list(search="bread", page_size=1, is_done="false")}

        read = client.read(first.url)
        done = client.change(read, is_done=True)
        assert (False, True) == (read.is_done, done.is_done)
        with pytest.raises(example.Refused, match="412"):
            client.change(read, title="too late")

        client._access = "expired"  # as in ten minutes
        assert done == client.read(first.url)
