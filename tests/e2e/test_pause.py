"""Polling paused and resumed, with a real beat and a real worker."""

import time

import pytest
from django.core.management import call_command

from tests.support.stack import MakeStack, Services
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


def test_paused_polling_stores_nothing_until_it_is_resumed(
    make_stack: MakeStack, shared_services: Services, template: str
) -> None:
    stack = make_stack(shared_services, template=template)
    stack.schedule(every_seconds=1, time_budget_seconds=2, timeout_ms=500)
    stack.worker()
    stack.beat()
    with stack.producer() as producer:
        producer.send(stack.kafka.topic, b'{"title": "before"}').get(30)
        eventually(lambda: stack.count("todo") == 1, seconds=30, what="the first todo")

        with stack.django():
            call_command("pause_polling", "--wait")
        for number in range(5):
            producer.send(stack.kafka.topic, b'{"title": "while paused %d"}' % number).get(30)
        time.sleep(5)  # five ticks of the schedule, if it were not paused
        assert (1, 0) == (stack.count("todo"), stack.count("poller"))

        with stack.django():
            call_command("resume_polling")
        eventually(lambda: stack.count("todo") == 6, seconds=30, what="the todos that waited")
