"""Dead letters: made, acted on in the admin as a browser would, and acted on at the same moment."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from django.test import Client

from tests.support.threads import in_threads
from todos.kafka.producer import KafkaSender
from todos.models import DeadLetter

Poison = Callable[..., DeadLetter]
LIST = "/admin/todos/deadletter/"
# The management form of the history, which is read-only.
HISTORY = {"events-TOTAL_FORMS": "0", "events-INITIAL_FORMS": "0"}


def make_letter(offset: int = 1, **fields: Any) -> DeadLetter:
    """Create a dead letter that never was a record."""
    fields = {"topic": "t", "partition": 0, "reason": "invalid", "detail": "d", "value": b'{"title": ""}'} | fields
    return DeadLetter.objects.create(offset=offset, **fields)


def history(letter: DeadLetter) -> list[tuple[str, str]]:
    return list(letter.events.values_list("action", "actor"))


# --- In the admin


def page_of(letter: DeadLetter) -> str:
    return f"{LIST}{letter.pk}/change/"


def save(client: Client, letter: DeadLetter, payload: str) -> Any:
    """Submit the form of a letter's page."""
    return client.post(page_of(letter), {"payload": payload} | HISTORY, follow=True)


def act(client: Client, action: str, *letters: DeadLetter, **fields: str) -> Any:
    """Submit an action of the list."""
    data = {"action": action, "_selected_action": [letter.pk for letter in letters]} | fields
    return client.post(LIST, data, follow=True)


def messages_in(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


# --- At the same moment, and half done


def at_once(*works: Callable[[], object]) -> list[BaseException | None]:
    """Run all of them at the same moment, each with its own database connection; return what each one raised."""
    start = threading.Barrier(len(works))
    raised: list[BaseException | None] = [None] * len(works)

    def run(index: int, work: Callable[[], object]) -> None:
        start.wait(30)
        try:
            work()
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            raised[index] = exc

    in_threads(*(partial(run, *item) for item in enumerate(works)))
    return raised


class Killed(BaseException):
    """Simulates the death of the process: the product does not catch it."""


class DiesAfterSending(KafkaSender):
    def send(self, *args: Any, **kwargs: Any) -> Any:
        super().send(*args, **kwargs)
        raise Killed
